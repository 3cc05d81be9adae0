"""The torch engine: CUDA, ROCm and CPU."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.backends import Batch, Ids, Rows
from runners.backends.modules import load_network
from runners.devices import Device


class TorchBackend:
    """A network on a device."""

    def __init__(self, folder: Path, spec: ModelSpec, facts: ModelFacts, device: Device) -> None:
        self._device = torch.device(device.torch_name)
        self._network = load_network(folder, spec, facts, getattr(torch, device.dtype)).to(self._device)
        self.name = f"torch {device.dtype} on {device.platform}"
        if device.platform == "cpu":
            torch.set_num_threads(device.threads)

    def forward(self, batch: Batch) -> Rows:
        """(B, T) ids -> (B, D) vectors or (B, 1) logits."""
        with torch.inference_mode():
            rows = self._network(*(self._tensor(array) for array in batch.arrays()))
            result: Rows = rows.float().cpu().numpy()
        return result

    def close(self) -> None:
        """Drop the network and return its memory to the device or the system."""
        del self._network
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _tensor(self, array: Ids) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)
