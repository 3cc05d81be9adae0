"""The torch engine: CUDA, ROCm and CPU."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.backends import Batch, Ids, OutOfMemoryError, Rows
from runners.backends.modules import load_network
from runners.devices import Device


class TorchBackend:
    """A network on a device."""

    def __init__(self, folder: Path, spec: ModelSpec, facts: ModelFacts, device: Device) -> None:
        self._device = torch.device(device.torch_name)
        self._dtype: torch.dtype = getattr(torch, device.dtype)
        self._network = load_network(folder, spec, facts, self._dtype).to(self._device)
        self.name = f"torch {device.dtype} on {device.platform}"
        if device.platform == "cpu":
            torch.set_num_threads(device.threads)

    def forward(self, batch: Batch) -> Rows:
        """(B, T) ids -> (B, D) vectors or (B, 1) logits."""
        try:
            with torch.inference_mode():
                rows = self._network(*(self._tensor(array) for array in batch.arrays()))
                result: Rows = rows.float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise OutOfMemoryError("the device is out of memory") from error
        return result

    def forward_exact(self, batch: Batch) -> Rows:
        """The same with the body in float32 for this one pass."""
        body = self._network.body
        body.float()
        try:
            return self.forward(batch)
        finally:
            body.to(self._dtype)

    @property
    def beside(self) -> None:
        """No second copy: short passes of a GPU take their turn within milliseconds."""

    def close(self) -> None:
        """Drop the network and return its memory to the device or the system."""
        del self._network
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _tensor(self, array: Ids) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)
