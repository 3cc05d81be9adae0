"""Write checkpoints as safetensors; read and write their JSON files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.files import link
from runners.networks.checkpoint import WEIGHTS, safetensors_files, tensors

INDEX = "model.safetensors.index.json"


def rewrite(source: Path, target: Path, rename: Callable[[str, torch.Tensor], dict[str, torch.Tensor]]) -> None:
    """Write `model.safetensors` into `target`, passing each tensor of `source` through `rename`."""
    result: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors(source):
        for new_name, new_tensor in rename(name, tensor).items():
            if new_name in result:
                raise ModelUnavailableError(f"The checkpoint has two tensors that both become {new_name}.")
            storage = new_tensor.untyped_storage().data_ptr()
            shared = storage in storages  # safetensors refuses tensors that share memory
            storages.add(storage)
            result[new_name] = new_tensor.clone() if shared or not new_tensor.is_contiguous() else new_tensor
    if not result:
        raise ModelUnavailableError("The checkpoint holds no weights (neither safetensors nor pytorch_model.bin).")
    save_file(result, target / WEIGHTS, metadata={"format": "pt"})


def link_weights(source: Path, target: Path) -> None:
    """Link the safetensors files, or write pickled tensors as safetensors."""
    files = safetensors_files(source)
    if not files:
        return rewrite(source, target, lambda name, tensor: {name: tensor})
    if len(files) == 1:  # a single shard, model-00001-of-00001, could not be read without its index
        return link(files[0], target / WEIGHTS)
    for path in files:
        link(path, target / path.name)
    if (source / INDEX).is_file():
        link(source / INDEX, target / INDEX)
    return None


def require_supported(supported: dict[str, bool], spec: ModelSpec) -> None:
    """Raise ModelUnavailableError if the value of any key of config.json is not supported."""
    unsupported = [key for key, value in supported.items() if not value]
    if unsupported:
        raise ModelUnavailableError(f"{spec.repo}: config.json has an unsupported value of {', '.join(unsupported)}.")


def read_json(path: Path) -> dict[str, object]:
    """A JSON object; empty if the file is missing or holds another type."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, object]) -> None:
    """Write an indented JSON object."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
