"""NV-Embed-v2: the shards do not change; config.json names our own module (runners/networks/nv_embed.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from errors import ModelUnavailableError
from importing.conversion.checkpoint import link_weights, read_json, write_json
from importing.conversion.native import REMOTE_CODE_KEYS
from models.catalog import ModelSpec

ARCHITECTURE = "NVEmbedModel"
_LATENT_DEFAULTS = {
    "num_latents_value": 512,
    "num_cross_heads": 8,
    "hidden_dim": 4096,
    "latent_dim": 4096,
    "cross_dim_head": 4096,
}
"""Defaults of configuration_nvembed.py, for keys that config.json omits."""


def convert(source: Path, target: Path, spec: ModelSpec) -> None:
    """Link the weights and write a flat config.json: Mistral's keys, and `latent_attention`."""
    config = cast(dict[str, Any], read_json(source / "config.json"))
    text = config.get("text_config")
    if config.get("model_type") != "nvembed" or not isinstance(text, dict):
        raise ModelUnavailableError(f"{spec.repo}: config.json is not that of an NV-Embed model.")
    kept = {key: value for key, value in text.items() if key not in REMOTE_CODE_KEYS}
    write_json(
        target / "config.json",
        kept
        | {
            "model_type": "nv_embed",
            "architectures": [ARCHITECTURE],
            "latent_attention": _LATENT_DEFAULTS | config.get("latent_attention_config", {}),
        },
    )
    link_weights(source, target)
