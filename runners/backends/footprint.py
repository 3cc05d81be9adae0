"""Upper bounds of the memory that a forward pass takes beside the weights, known before it runs.

A pass has B texts, of which the longest has T tokens, and N tokens together (Extent). docs/deployment.md holds what
was measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.batching.planning import Extent
from runners.networks.packing import QUERY_BLOCK

Floats = NDArray[np.float64]

LONG_TEXT_TOKENS = 2048
"""Texts above this attend in turn on a CPU, in torch: 8,192 tokens take 0.4 GB in a ModernBERT of 3 layers, and padded,
with masks of (T, T), 1.05 GB."""
FRAGMENTATION = 3.5
"""Memory that OpenVINO takes over what its tensors need at the worst moment: 2.0 to 3.4 for texts of 2,048 to 16,384
tokens (XLM-RoBERTa, Qwen3, ModernBERT; float32 and bfloat16)."""
_ALWAYS = 2**24
"""Buffers of the threads and of the allocator, whatever the size."""
_PLACE = (4, 64, 128)
"""B, T and N for which the shapes of a graph are read, then with each of them doubled."""
_PADDED_INPUTS = 4
"""Inputs of a padded graph (batches.Batch), at most; one that only pads attention has more (UnpaddedBatch)."""
_LARGEST_INTEGER = 4
"""OpenVINO's CPU engine computes 64-bit integers with 32 bits."""


class GraphFootprint:
    """Tensors of an OpenVINO graph and when they are alive: how much each takes is a monomial of B, T and N."""

    def __init__(self, model: Any, float_bytes: int) -> None:
        """`model` is an openvino.Model fresh from its file, which takes other shapes here.

        Its floating-point tensors are computed with `float_bytes` an element.
        """
        elements = _elements(model, *_PLACE)
        doubled = [_elements(model, *np.multiply(_PLACE, factors).tolist()) for factors in 1 + np.eye(3, dtype=int)]
        powers = np.log2(np.stack(doubled, axis=1) / elements[:, None]).round(3)
        self._powers, kinds = np.unique(powers, axis=0, return_inverse=True)
        """(kinds, 3): exponents of B, T and N."""
        self._alive = np.unique(_alive(model, elements, kinds, float_bytes), axis=0)
        """(steps, kinds): bytes of the tensors of each kind that are alive at each step, at _PLACE."""

    def bytes(self, size: Extent) -> int:
        """Of one pass."""
        growth = np.array([size.count, size.longest, size.tokens]) / _PLACE
        return _ALWAYS + int(FRAGMENTATION * (self._alive @ np.prod(growth**self._powers, axis=1)).max())


def _alive(model: Any, elements: Floats, kinds: NDArray[np.intp], float_bytes: int) -> Floats:
    """(steps, kinds): bytes of tensors from the step that computes them to the last one that reads them."""
    steps = {node: step for step, node in enumerate(model.get_ordered_ops())}
    changes = np.zeros((len(steps) + 1, kinds.max() + 1))
    for tensor, count, kind in zip(_tensors(model), elements, kinds, strict=True):
        element = tensor.get_element_type()
        taken = count * (float_bytes if element.is_real() else min(element.size, _LARGEST_INTEGER))
        born = steps[tensor.get_node()]
        changes[born, kind] += taken
        changes[max([born, *(steps[user.get_node()] for user in tensor.get_target_inputs())]) + 1, kind] -= taken
    return changes.cumsum(axis=0)


def _tensors(model: Any) -> list[Any]:
    """Every output of the graph that a pass computes, in the order of the steps."""
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    return [output for node in nodes for output in node.outputs()]


def _elements(model: Any, count: int, longest: int, tokens: int) -> Floats:
    """(tensors,): elements of each in a pass of B, T and N."""
    rectangle, packed = [count, longest], [1, tokens]
    shapes = [rectangle] * _PADDED_INPUTS
    if len(model.inputs) > _PADDED_INPUTS:
        shapes = [packed, packed, rectangle, rectangle, rectangle, [tokens], packed]
    model.reshape(dict(zip(range(len(model.inputs)), shapes, strict=False)))
    return np.array([max(1, np.prod(tensor.get_shape())) for tensor in _tensors(model)], dtype=np.float64)


@dataclass(frozen=True)
class LayerWidths:
    """Sizes of a network's layers, from its config.json; what it leaves out is taken as large as is usual."""

    hidden: int
    inner: int
    heads: int
    head: int

    @classmethod
    def read(cls, folder: Path) -> LayerWidths:
        """Of a converted checkpoint."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        hidden = int(config.get("hidden_size", 1024))
        heads = int(config.get("num_attention_heads", 16))
        inner, head = config.get("intermediate_size"), config.get("head_dim")
        return cls(hidden, int(inner or 4 * hidden), heads, int(head or hidden // heads))

    def torch_bytes(self, size: Extent, *, packed: bool) -> int:
        """Of a pass on a CPU in float32; `packed` where its texts attend in turn (packing.py)."""
        tokens = size.tokens if packed else size.count * size.longest
        activations = _ALWAYS + 4 * tokens * (4 * self.hidden + 4 * self.inner + 4 * self.heads * self.head)
        rows = min(size.longest, QUERY_BLOCK)
        if packed:
            return activations + 8 * rows * size.longest
        # who sees whom; and attention of its own kind, whose weights or biases for each head exist for `rows` at a time
        return activations + size.count * size.longest * (12 * size.longest + 8 * self.heads * rows)
