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
from runners.backends import OutOfMemoryError, Rows, Sequences
from runners.backends.batches import Batch, PackedBatch
from runners.backends.cuda_graphs import CapturedPasses, to_device
from runners.backends.gate import difference, probes
from runners.backends.modules import load_network
from runners.backends.network import Network
from runners.backends.packing import ATTENTION, can_pack, register
from runners.devices import Device

logger = logging.getLogger("service.models")


class TorchBackend:
    """A network on a device."""

    def __init__(self, folder: Path, spec: ModelSpec, facts: ModelFacts, device: Device) -> None:
        self._device = torch.device(device.torch_name)
        reserved = self._reserved_bytes()
        self._dtype: torch.dtype = getattr(torch, device.dtype)
        self._pad_id = facts.pad_id
        register()
        self._network = load_network(folder, spec, facts, self._dtype, attention=ATTENTION).to(self._device)
        self._handing_over = threading.Lock()  # one pass after the other; waiting for the results needs no turn
        self._captured: CapturedPasses | None = None
        self._packs = self._has_kernel() and can_pack(self._network.body.encoder) and self._packing_agrees(facts)
        self.padding_cost = 0.0 if self._packs else 1.0
        self.overlaps = self._device.type == "cuda"
        self.name = f"torch {device.dtype} on {device.platform}"
        if self._packs:
            self._captured = CapturedPasses(self._network, self._device, self._pad_id)
        if device.platform == "cpu":
            torch.set_num_threads(device.threads)
        self.memory_bytes = max(0, self._reserved_bytes() - reserved)

    def forward(self, sequences: Sequences) -> Rows:
        """B sequences -> (B, D) vectors or (B, 1) logits."""
        return self._forward(sequences, packed=self._packs)

    def forward_exact(self, sequences: Sequences) -> Rows:
        """The same with a copy of the network in float32, made for this one pass, and padded."""
        with _own_errors(), torch.inference_mode():
            return _Answer(self._padded(copy.deepcopy(self._network).float(), sequences)).wait()

    @property
    def beside(self) -> None:
        """No second copy: short passes of a GPU take their turn within milliseconds."""

    def close(self) -> None:
        """Drop the network and return its memory to the device or the system."""
        self._captured = None
        del self._network
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _reserved_bytes(self) -> int:
        """Memory of a GPU that this process holds, what is only cached left out."""
        if self._device.type == "cpu":
            return 0
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(self._device)

    def _has_kernel(self) -> bool:
        """Variable-length flash attention is for GPUs and half precision."""
        return self._device.type == "cuda" and self._dtype != torch.float32

    def _packing_agrees(self, facts: ModelFacts) -> bool:
        """Whether packed texts come out as padded ones do; where not, the model is served padded."""
        try:
            expected, found = (
                np.concatenate([self._forward(probe, packed=packed) for probe in probes(facts)])
                for packed in (False, True)
            )
            problem = difference(expected, found, "bf16", vectors=facts.dimensions is not None)
        except (RuntimeError, TypeError) as error:  # no such kernel on this device, or an encoder that takes no bounds
            problem = f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
        if problem is not None:
            logger.warning("%s is served with padding, as its packed texts differ: %s", facts.architecture, problem)
        return problem is None

    def _forward(self, sequences: Sequences, *, packed: bool) -> Rows:
        with _own_errors():
            with self._handing_over, torch.inference_mode():
                answer = _Answer(self._packed(sequences) if packed else self._padded(self._network, sequences))
            return answer.wait()

    def _padded(self, network: Network, sequences: Sequences) -> torch.Tensor:
        batch = Batch.of(sequences, self._pad_id)
        rows: torch.Tensor = network(*(to_device(array, self._device) for array in batch.arrays()))
        return rows

    def _packed(self, sequences: Sequences) -> torch.Tensor:
        batch = PackedBatch.of(sequences)
        if self._captured is not None and (rows := self._captured.run(batch)) is not None:
            return rows
        tokens, bounds = (to_device(array, self._device) for array in (batch.tokens, batch.bounds))
        return self._network.forward_packed(tokens, bounds.int(), batch.longest)


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    """OutOfMemoryError of ours for torch's, with what was only cached given back."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemoryError("the device is out of memory") from error


def _pinned(shape: torch.Size) -> torch.Tensor:
    """The data type is said: transformers changes torch's default for all threads while it loads a model."""
    return torch.empty(shape, dtype=torch.float32, pin_memory=True)


class _Answer:
    """Rows on their way from the device: who waits for them keeps nobody from handing over the next pass."""

    def __init__(self, rows: torch.Tensor) -> None:
        self._rows = rows.float()
        self._arrived: torch.cuda.Event | None = None
        if rows.is_cuda:
            self._rows = _pinned(rows.shape).copy_(self._rows, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch
            self._arrived.record(torch.cuda.current_stream(rows.device))

    def wait(self) -> Rows:
        """Until they are here."""
        if self._arrived is not None:
            self._arrived.synchronize()
        rows: Rows = self._rows.numpy()
        return rows
