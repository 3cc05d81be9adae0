"""Upper bounds of the memory of a forward pass, without the weights, computed before it runs.

A pass has B texts, T tokens in the longest text, and N tokens in total (BatchShape). Measurements: docs/deployment.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.facts import ModelFacts
from runners.backends.batches import may_share, most_rows
from runners.contracts import BatchShape

Floats = NDArray[np.float64]

LONG_TEXT_TOKENS = 2048
"""Above this length, torch computes the attention of each text separately on a CPU: 8,192 tokens take 0.4 GB in a
ModernBERT of 3 layers, and 1.05 GB padded, with masks of (T, T)."""
QUERY_BLOCK = 1024
"""Queries that attention with masks or biases of (T, T) computes at a time, for long texts in torch."""
FRAGMENTATION = 3.5
"""Memory that OpenVINO takes relative to the peak of its tensors: 2.0 to 3.4 for texts of 2,048 to 16,384 tokens
(XLM-RoBERTa, Qwen3, ModernBERT; float32 and bfloat16)."""
LOGIT_TOKENS = 512
"""Tokens whose logits of the vocabulary are in memory at once: 62 MB for 30,522 entries."""
_ALWAYS = 2**24
"""Buffers of the threads and of the allocator, independent of the size."""
_PLACE = (4, 64, 128)
"""The B, T and N for which the shapes of a graph are read, then with each of them doubled."""
PADDED_INPUTS, UNSHARED_INPUTS = 4, 7
"""Most inputs of a graph for PaddedBatch, and of an earlier one for UnpaddedBatch, where texts share no rows."""
_LARGEST_INTEGER = 4
"""OpenVINO's CPU engine computes 64-bit integers with 32 bits."""


class GraphFootprint:
    """The tensors of an OpenVINO graph and their lifetimes. The size of each is a monomial of B, T and N."""

    def __init__(self, model: Any, float_bytes: int) -> None:
        """`model` is a newly read openvino.Model, which is reshaped here; its floats have `float_bytes` each."""
        self._shares = len(model.inputs) > UNSHARED_INPUTS
        elements = _elements(model, *_PLACE)
        doubled = [_elements(model, *np.multiply(_PLACE, factors).tolist()) for factors in 1 + np.eye(3, dtype=int)]
        powers = np.log2(np.stack(doubled, axis=1) / elements[:, None]).round(3)
        self._powers, kinds = np.unique(powers, axis=0, return_inverse=True)
        """(kinds, 3): exponents of B, T and N."""
        self._alive = np.unique(_alive(model, elements, kinds, float_bytes), axis=0)
        """(steps, kinds): bytes of the tensors of each kind that are alive at each step, at _PLACE."""

    def bytes(self, size: BatchShape) -> int:
        """Upper bound for one pass."""
        growth = np.array([size.count, size.longest, size.tokens]) / _PLACE
        masks = most_rows(size) * size.longest**2 if self._shares and may_share(size.count, size.longest) else 0
        return _ALWAYS + int(FRAGMENTATION * (masks + (self._alive @ np.prod(growth**self._powers, axis=1)).max()))


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
    """Every output that a pass computes, in execution order."""
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    return [output for node in nodes for output in node.outputs()]


def _elements(model: Any, count: int, longest: int, tokens: int) -> Floats:
    """(tensors,): number of elements of each in a pass of B, T and N in which texts share no rows."""
    rectangle, packed = [count, longest], [1, tokens]
    shapes = [rectangle] * PADDED_INPUTS
    if len(model.inputs) > PADDED_INPUTS:
        rows = [rectangle, [count, 1]] if len(model.inputs) > UNSHARED_INPUTS else []
        shapes = [packed, packed, rectangle, rectangle, rectangle, [tokens], *rows, packed]
    model.reshape(dict(zip(range(len(model.inputs)), shapes, strict=False)))
    return np.array([max(1, np.prod(tensor.get_shape())) for tensor in _tensors(model)], dtype=np.float64)


@dataclass(frozen=True)
class LayerWidths:
    """Sizes of a network's layers, from its config.json, with usual sizes as defaults."""

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

    def torch_bytes(self, size: BatchShape, *, packed: bool) -> int:
        """Upper bound for a float32 pass on a CPU; `packed` if attention is computed per text (packing.py)."""
        tokens = size.tokens if packed else size.count * size.longest
        activations = _ALWAYS + 4 * tokens * (4 * self.hidden + 4 * self.inner + 4 * self.heads * self.head)
        rows = min(size.longest, QUERY_BLOCK)
        if packed:
            return activations + 8 * rows * size.longest
        # masks, and custom attention, whose weights or biases exist for `rows` at a time and each head
        return activations + size.count * size.longest * (12 * size.longest + 8 * self.heads * rows)


@dataclass(frozen=True)
class OutputWidths:
    """Sizes of what a model computes beside its rows: floats of a token and of a text, and of logits at a time."""

    token: int = 0
    text: int = 0
    logits: int = 0

    @classmethod
    def of(cls, facts: ModelFacts, hidden: int) -> OutputWidths:
        """By the outputs of a model; 0 for models with rows only."""
        vocabulary = facts.vocabulary if facts.sparse is not None and facts.sparse.kind == "vocabulary" else 0
        vectors = facts.dimensions or 0 if facts.multi_vector is not None else 0
        more = facts.sparse is not None or facts.multi_vector is not None
        return cls(2 * (vectors + hidden) if more else 0, 2 * vocabulary, 3 * vocabulary)

    def bytes(self, size: BatchShape) -> int:
        """Upper bound for one pass: the device's arrays, and the copies for each text."""
        return 4 * (size.tokens * self.token + size.count * self.text + min(size.tokens, LOGIT_TOKENS) * self.logits)
