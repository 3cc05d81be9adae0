"""Read a checkpoint's tensors from safetensors or pickle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

WEIGHTS = "model.safetensors"


def safetensors_files(folder: Path) -> list[Path]:
    """The weight files in a folder, shards in order; empty if there are only pickle files."""
    single = folder / WEIGHTS
    return [single] if single.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))


def tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a checkpoint one at a time, so that it is never in memory twice."""
    files = safetensors_files(folder)
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # not iterable by itself
                yield name, file.get_tensor(name)
    if not files:
        for path in sorted(folder.glob("pytorch_model*.bin")):
            yield from _unpickle(path).items()


def _unpickle(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a pickle file; `weights_only` rejects pickles that would run code."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # the format of torch before 1.6 cannot be memory-mapped
        content = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
