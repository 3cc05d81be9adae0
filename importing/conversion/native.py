"""Checkpoints that transformers reads unchanged: linked weights, and a config.json without remote code."""

from __future__ import annotations

from pathlib import Path

from errors import ModelUnavailableError
from importing.conversion.checkpoint import link_weights, read_json, write_json
from models.catalog import ModelSpec

REMOTE_CODE_KEYS = ("auto_map", "custom_pipelines")


def convert(source: Path, target: Path, spec: ModelSpec) -> None:
    """Link the weights (pickle becomes safetensors) and write config.json without references to remote code."""
    config = read_json(source / "config.json")
    _require_known_type(config, spec)
    write_json(target / "config.json", {key: value for key, value in config.items() if key not in REMOTE_CODE_KEYS})
    link_weights(source, target)


def _require_known_type(config: dict[str, object], spec: ModelSpec) -> None:
    """Raise ModelUnavailableError if only the repository's own code knows the architecture."""
    from transformers import CONFIG_MAPPING

    code = remote_code(config)
    if code is not None and config.get("model_type") not in CONFIG_MAPPING:
        raise ModelUnavailableError(f"{spec.repo} needs remote code ({code}), which is not run.")


def remote_code(config: dict[str, object]) -> str | None:
    """The class in the repository's own code that config.json names; None if there is none."""
    own = config.get("auto_map")
    return str(own.get("AutoModel") or next(iter(own.values()))) if isinstance(own, dict) and own else None
