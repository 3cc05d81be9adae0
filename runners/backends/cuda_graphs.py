"""Forward passes captured as CUDA graphs: launching most passes from Python takes longer than computing them.

There is one graph per pass size. A batch runs in the smallest graph that fits, filled with an unused text of padding.
On an H100, one query of 12 tokens through BERT-base took 6.2 ms launched from Python and 0.8 ms as a graph; passes of
8192 tokens reached 12,000 and 18,000 texts/s.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from runners.backends.batches import PackedBatch
from runners.networks.network import Network

logger = logging.getLogger("service.models")

TOKENS = (
    *(16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768),
    *(1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384),
)
"""Sizes of the graphs, at most a half apart, so that little padding is computed."""
LONGEST = 512
"""Longest text in a graph. Attention is launched for this length, so a larger limit would slow every replay."""
_FEWEST_TEXTS = 8
_MOST_TEXTS = 512
_TOKENS_A_TEXT = 12
_WARM_UPS = 2


def to_device(array: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """Copy to the device; to a GPU through pinned memory, so that the copy does not block."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True)
class _Pass:
    """One captured pass: copy the inputs in, replay, and read the rows before the next replay."""

    tokens: int
    texts: int
    inputs: torch.Tensor
    """(4 * tokens + texts + 2,): the fields of PackedBatch one after the other, as one copy."""
    rows: torch.Tensor
    graph: torch.cuda.CUDAGraph


class CapturedPasses:
    """The graphs of one packed network. The caller must launch one pass at a time."""

    def __init__(self, network: Network, device: torch.device, pad_id: int) -> None:
        self._device = device
        self._pad_id = pad_id
        self._passes: list[_Pass] = []
        with torch.cuda.device(device), torch.inference_mode():
            memory = torch.cuda.graph_pool_handle()
            # one for all passes: cuBLAS keeps tens of megabytes for each stream
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch
            try:
                for tokens in reversed(TOKENS):  # largest first: the others reuse its memory
                    self._passes.insert(0, self._capture(network, tokens, stream, memory))
            except RuntimeError as error:  # also out of memory; the captured passes are used
                logger.warning("no CUDA graphs below %d tokens: %s", tokens, type(error).__name__)

    def run(self, batch: PackedBatch) -> torch.Tensor | None:
        """(B, D) rows, valid until the next pass; None if the batch fits no graph."""
        count, texts = batch.tokens.shape[1], len(batch.bounds) - 1
        fitting = (each for each in self._passes if each.tokens >= count and each.texts >= texts)
        found = next(fitting, None) if batch.longest <= LONGEST else None
        if found is None:
            return None
        flat = np.zeros(found.inputs.shape, dtype=np.int64)
        tokens = flat[: 4 * found.tokens].reshape(4, found.tokens)
        tokens[0] = self._pad_id
        tokens[:, :count] = batch.tokens
        bounds = flat[4 * found.tokens :]
        bounds[: texts + 1] = batch.bounds
        bounds[texts + 1 :] = found.tokens  # the text of padding, then empty ones
        found.inputs.copy_(torch.from_numpy(flat).pin_memory(), non_blocking=True)
        found.graph.replay()
        return found.rows[:texts]

    def _capture(self, network: Network, tokens: int, stream: torch.cuda.Stream, memory: Any) -> _Pass:
        texts = min(max(_FEWEST_TEXTS, tokens // _TOKENS_A_TEXT), _MOST_TEXTS)
        inputs = torch.zeros(4 * tokens + texts + 2, dtype=torch.int64, device=self._device)
        inputs[-(texts + 1) :] = tokens  # one text of all tokens, then empty ones

        def run() -> torch.Tensor:
            fields, bounds = inputs[: 4 * tokens].view(4, tokens), inputs[4 * tokens :].int()
            return network.forward_packed(fields, bounds, min(tokens, LONGEST))

        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                run()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may run other models meanwhile: capture only this thread's calls
        with torch.cuda.graph(graph, pool=memory, stream=stream, capture_error_mode="thread_local"):
            rows = run().float()
        return _Pass(tokens, texts, inputs, rows, graph)
