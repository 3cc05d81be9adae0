"""The torch engine: CUDA, ROCm and CPU."""

from __future__ import annotations

import gc
import inspect
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.backends import Batch, Rows
from runners.devices import Device
from runners.pooling import POOLINGS

transformers.logging.set_verbosity_error()  # what it reports at load is checked below, and refused
transformers.logging.disable_progress_bar()

_UNUSED = ("pooler.", "cls.", "lm_head.", "position_ids", "entity_predictions.", "entity_embeddings.")
"""Parts of a checkpoint that have no say in an embedder's token vectors: their presence or absence is harmless."""


class TorchBackend:
    """A transformers module with our pooling behind it."""

    def __init__(self, folder: Path, spec: ModelSpec, facts: ModelFacts, device: Device) -> None:
        self._device = torch.device(device.torch_name)
        self._module = load_module(folder, spec, getattr(torch, device.dtype)).to(self._device)
        self._pool = POOLINGS[facts.pooling] if facts.pooling else None
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
            rows = output.logits if self._pool is None else self._pooled(output, inputs["attention_mask"])
            result: Rows = rows.float().cpu().numpy()
        return result

    def close(self) -> None:
        """Drop the module and return its memory to the device or the system."""
        del self._module
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _pooled(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        assert self._pool is not None
        pooled: torch.Tensor = self._pool(output.last_hidden_state.float(), mask.float())
        return pooled

    def _tensor(self, array: Any) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)


def load_module(folder: Path, spec: ModelSpec, dtype: torch.dtype) -> nn.Module:
    """The module of a converted folder; ModelUnavailableError where a tensor is missing, unexpected or mis-shaped."""
    auto = transformers.AutoModel if spec.kind == "embedding" else transformers.AutoModelForSequenceClassification
    options: dict[str, Any] = {
        "dtype": dtype,  # transformers 5 would take the file's, half precision even on a CPU
        "attn_implementation": spec.attention,
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    if spec.kind == "embedding" and _takes_pooling_flag(folder):
        options["add_pooling_layer"] = False
    try:
        module, info = auto.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelUnavailableError(f"{spec.repo} cannot be loaded: {_first_line(error)}") from error
    _refuse_incomplete(spec, info)
    module.eval()
    return module  # type: ignore[no-any-return]  # transformers is untyped


def _takes_pooling_flag(folder: Path) -> bool:
    """Whether the encoder class can leave out its pooler, which we never read."""
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model_class = transformers.AutoModel._model_mapping[type(config)]
    return "add_pooling_layer" in inspect.signature(model_class.__init__).parameters


def _refuse_incomplete(spec: ModelSpec, info: dict[str, Any]) -> None:
    """A head or layer that the file does not fill would be random numbers: plausible answers, all wrong."""
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = [str(name[0] if isinstance(name, tuple) else name) for name in info.get(what) or ()]
        if spec.kind == "embedding" and what != "mismatched_keys":
            names = [name for name in names if not _unused(name)]
        else:
            names = [name for name in names if not name.endswith("position_ids")]
        if names:
            shown = ", ".join(sorted(names)[:5])
            raise ModelUnavailableError(
                f"{spec.repo} is refused: {len(names)} {what.replace('_', ' ')} ({shown}). "
                "The checkpoint does not fit its architecture, so its numbers would be wrong."
            )


def _unused(name: str) -> bool:
    return any(part in f"{name}." for part in _UNUSED)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300]
