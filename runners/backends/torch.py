"""The torch engine: CUDA, ROCm and CPU."""

from __future__ import annotations

import contextlib
import copy
import gc
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.backends.accuracy import PROBE_TOKENS, difference, probes
from runners.backends.batches import PackedBatch, PaddedBatch
from runners.backends.cuda_graphs import CapturedPasses, to_device
from runners.backends.footprint import LONG_TEXT_TOKENS, LayerWidths, OutputWidths
from runners.backends.token_outputs import all_wanted, bounds_of, split
from runners.contracts import BatchShape, OutOfMemoryError, Rows, TextOutputs, TokenSequences
from runners.devices import Device
from runners.networks.build import load_network
from runners.networks.network import Network
from runners.networks.packing import ATTENTION, can_pack, register

logger = logging.getLogger("service.models")

LONG_PROBE_TOKENS = 200
"""Length of the texts that check packing for long texts: longer than ModernBERT's window, computed in seconds."""


class TorchBackend:
    """A network on a device."""

    def __init__(self, folder: Path, spec: ModelSpec, facts: ModelFacts, device: Device) -> None:
        self._device = torch.device(device.torch_name)
        reserved = self._reserved_bytes()
        self._dtype: torch.dtype = getattr(torch, device.dtype)
        if device.platform == "cpu":
            torch.set_num_threads(device.threads)
        self._pad_id = facts.pad_id
        self._sparse = facts.sparse
        register()
        self._network = load_network(folder, spec, facts, self._dtype, attention=ATTENTION).to(self._device)
        self._launching = threading.Lock()  # launches one pass at a time; waiting for results needs no lock
        self._captured: CapturedPasses | None = None
        packable = can_pack(self._network.body.encoder)
        self._packs = packable and self._has_kernel() and self._packing_agrees(facts)
        long = self._device.type == "cpu" and facts.max_tokens > LONG_TEXT_TOKENS
        self._packs_long = packable and long and self._packing_agrees(facts, LONG_PROBE_TOKENS)
        self._widths = LayerWidths.read(folder)
        self._output_widths = OutputWidths.of(facts, self._widths.hidden)
        self.padding_cost = 0.0 if self._packs else 1.0
        self.concurrent_passes = 2 if self._device.type == "cuda" else 1
        self.dtype = self.weights_dtype = device.dtype
        self.name = f"torch {device.dtype} on {device.platform}"
        if self._packs:
            self._captured = CapturedPasses(self._network, self._device, self._pad_id)
        self.memory_bytes = max(0, self._reserved_bytes() - reserved)

    def forward(self, sequences: TokenSequences) -> Rows:
        """B sequences -> (B, D) vectors or (B, 1) logits."""
        return self._forward(sequences, packed=self._packs or self._is_long(max(map(len, sequences))))

    def pass_bytes(self, size: BatchShape) -> int:
        """Estimated on a CPU, where exhausting the memory ends the process; 0 on a GPU."""
        if self._device.type != "cpu":
            return 0
        return self._widths.torch_bytes(size, packed=self._is_long(size.longest)) + self._output_widths.bytes(size)

    def outputs(self, sequences: TokenSequences, *, exact: bool = False) -> list[TextOutputs]:
        """B sequences -> what each wants. `exact`: with a float32 copy of the network, made for this pass."""
        with _translated_errors():
            with self._launching, torch.inference_mode():
                copied = exact and self._dtype != torch.float32
                network = copy.deepcopy(self._network).float() if copied else self._network
                packs = self._is_long(max(map(len, sequences))) or (self._packs and not exact)
                states = self._states(network, sequences, packed=packs and not any(s.unattended for s in sequences))
                batch = PackedBatch.of(sequences)
                counted, bounds = (to_device(array, self._device) for array in (batch.tokens[2], bounds_of(sequences)))
                found = network.outputs(states, counted.float(), bounds, all_wanted(sequences))
                pending = {output: _PendingRows(rows) for output, rows in found.items()}
            arrays = {output: rows.wait() for output, rows in pending.items()}
        return split(sequences, arrays, self._sparse)

    def _states(self, network: Network, sequences: TokenSequences, *, packed: bool) -> torch.Tensor:
        """The states (N, H) of all tokens, end to end."""
        if packed:
            batch = PackedBatch.of(sequences)
            tokens, bounds = (to_device(array, self._device) for array in (batch.tokens, batch.bounds))
            return network.body.packed_states(tokens, bounds.int(), batch.longest)
        padded = PaddedBatch.of(sequences, self._pad_id)
        _, states = network.body.with_states(*(to_device(array, self._device) for array in padded.arrays()))
        return states[to_device(padded.text_mask, self._device).bool()]

    def forward_exact(self, sequences: TokenSequences) -> Rows:
        """The same with a float32 copy of the network, made for this pass; padded on a GPU."""
        with _translated_errors(), torch.inference_mode():
            exact = self._network if self._dtype == torch.float32 else copy.deepcopy(self._network).float()
            compute = self._packed if self._is_long(max(map(len, sequences))) else self._padded
            return _PendingRows(compute(exact, sequences)).wait()

    @property
    def second_forward(self) -> None:
        """No second copy: short passes wait only milliseconds on a GPU."""

    def close(self) -> None:
        """Drop the network and return its memory to the device or the system."""
        self._captured = None
        del self._network
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _reserved_bytes(self) -> int:
        """GPU memory that this process uses, without cached blocks."""
        if self._device.type == "cpu":
            return 0
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(self._device)

    def _is_long(self, tokens: int) -> bool:
        """Whether a CPU computes the attention of each text separately; padding masks would have the size (T, T)."""
        return self._packs_long and tokens > LONG_TEXT_TOKENS

    def _has_kernel(self) -> bool:
        """Variable-length flash attention needs a GPU and half precision."""
        return self._device.type == "cuda" and self._dtype != torch.float32

    def _packing_agrees(self, facts: ModelFacts, most_tokens: int = PROBE_TOKENS[-1]) -> bool:
        """Whether packed texts of at most `most_tokens` give the same rows as padded ones; if not, padding is used."""
        texts = [probe for probe in probes(facts) if len(probe[0]) <= most_tokens]
        precision = "f32" if self._dtype == torch.float32 else "bf16"
        try:
            expected, found = (
                np.concatenate([self._forward(probe, packed=packed) for probe in texts]) for packed in (False, True)
            )
            problem = difference(expected, found, precision, vectors=facts.dimensions is not None)
        except (RuntimeError, TypeError) as error:  # the device lacks the kernel, or the encoder takes no bounds
            problem = f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
        if problem is not None:
            logger.warning("%s is served with padding, as its packed texts differ: %s", facts.architecture, problem)
        return problem is None

    def _forward(self, sequences: TokenSequences, *, packed: bool) -> Rows:
        with _translated_errors():
            with self._launching, torch.inference_mode():
                rows = _PendingRows((self._packed if packed else self._padded)(self._network, sequences))
            return rows.wait()

    def _padded(self, network: Network, sequences: TokenSequences) -> torch.Tensor:
        batch = PaddedBatch.of(sequences, self._pad_id)
        rows: torch.Tensor = network(*(to_device(array, self._device) for array in batch.arrays()))
        return rows

    def _packed(self, network: Network, sequences: TokenSequences) -> torch.Tensor:
        batch = PackedBatch.of(sequences)
        if self._captured is not None and (rows := self._captured.run(batch)) is not None:
            return rows
        tokens, bounds = (to_device(array, self._device) for array in (batch.tokens, batch.bounds))
        return network.forward_packed(tokens, bounds.int(), batch.longest)


@contextlib.contextmanager
def _translated_errors() -> Iterator[None]:
    """Translate torch's OutOfMemoryError to ours, and free cached memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemoryError("the device is out of memory") from error


def _pinned(shape: torch.Size) -> torch.Tensor:
    """The data type is explicit: transformers changes torch's default for all threads while it loads a model."""
    return torch.empty(shape, dtype=torch.float32, pin_memory=True)


class _PendingRows:
    """Rows being copied from the device; waiting does not block the next launch."""

    def __init__(self, rows: torch.Tensor) -> None:
        self._rows = rows.float()
        self._arrived: torch.cuda.Event | None = None
        if rows.is_cuda:
            self._rows = _pinned(rows.shape).copy_(self._rows, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch
            self._arrived.record(torch.cuda.current_stream(rows.device))

    def wait(self) -> Rows:
        """Wait until the copy is complete."""
        if self._arrived is not None:
            self._arrived.synchronize()
        rows: Rows = self._rows.numpy()
        return rows
