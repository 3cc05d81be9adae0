"""The torch engine: CUDA, ROCm and CPU."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch

from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.backends import Batch, Ids, Rows
from runners.backends.modules import load_dense, load_module
from runners.devices import Device
from runners.pooling import POOLINGS


class TorchBackend:
    """A transformers module, or one of ours, with pooling behind it."""

    def __init__(self, folder: Path, spec: ModelSpec, facts: ModelFacts, device: Device) -> None:
        self._device = torch.device(device.torch_name)
        self._module = load_module(folder, spec, facts, getattr(torch, device.dtype)).to(self._device)
        self._pool = POOLINGS[facts.pooling] if facts.pooling else None
        self._dense = load_dense(folder, facts.dense, torch.float32).to(self._device) if facts.dense else None
        self.name = f"torch {device.dtype} on {device.platform}"
        if device.platform == "cpu":
            torch.set_num_threads(device.threads)

    def forward(self, batch: Batch) -> Rows:
        """(B, T) ids -> (B, H) vectors or (B, 1) logits."""
        inputs = {"input_ids": self._tensor(batch.input_ids), "attention_mask": self._tensor(batch.attention_mask)}
        if batch.token_type_ids is not None:
            inputs["token_type_ids"] = self._tensor(batch.token_type_ids)
        with torch.inference_mode():
            output = self._module(**inputs)
            rows = output.logits if self._pool is None else self._pooled(output, self._tensor(batch.pooling_mask))
            result: Rows = rows.float().cpu().numpy()
        return result

    def close(self) -> None:
        """Drop the module and return its memory to the device or the system."""
        del self._module
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _pooled(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Pooling and what follows it, in float32 whatever the module runs in."""
        assert self._pool is not None
        pooled: torch.Tensor = self._pool(output.last_hidden_state.float(), mask.float())
        return pooled if self._dense is None else self._dense(pooled)

    def _tensor(self, array: Ids) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)
