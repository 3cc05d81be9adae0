"""Checkpoints that transformers reads unchanged: linked weights, and a config.json without remote code."""

from __future__ import annotations

from pathlib import Path

from importing.conversion.checkpoint import link_weights, read_json, write_json
from models.catalog import ModelSpec

REMOTE_CODE_KEYS = ("auto_map", "custom_pipelines")


def convert(source: Path, target: Path, _spec: ModelSpec) -> None:
    """Link the weights (pickle becomes safetensors) and write config.json without references to remote code."""
    config = read_json(source / "config.json")
    write_json(target / "config.json", {key: value for key, value in config.items() if key not in REMOTE_CODE_KEYS})
    link_weights(source, target)
