"""Alibaba-NLP's "new" architecture (gte-multilingual): the same tensors, a config for the native `gte` class.

The original applies NTK scaling twice: the base becomes theta x factor, and every frequency is also divided by
factor^(2/d), where d is the head width. The native equivalent is `linear` scaling by factor^(2/d) with the larger
base; scaling theta alone would change logits by more than 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from errors import ModelUnavailableError
from importing.conversion.checkpoint import link_weights, read_json, require_supported, write_json
from importing.conversion.native import REMOTE_CODE_KEYS
from models.catalog import ModelSpec

_OWN_KEYS = (
    "rope_theta",
    "rope_scaling",
    "position_embedding_type",
    "layer_norm_type",
    "logn_attention_clip1",
    "logn_attention_scale",
    "pack_qkv",
    "unpad_inputs",
    "use_memory_efficient_attention",
    *REMOTE_CODE_KEYS,
)


def convert(source: Path, target: Path, spec: ModelSpec) -> None:
    """Link the weights, whose names do not change, and write a native config.json."""
    original = cast(dict[str, Any], read_json(source / "config.json"))
    config = {key: value for key, value in original.items() if key not in _OWN_KEYS}
    if original.get("model_type") == "new":
        _refuse_variants(original, spec)
        config["model_type"] = "gte"
        config["architectures"] = [str(name).replace("New", "Gte", 1) for name in original["architectures"][:1]]
        config["rope_parameters"] = rope_parameters(original)
    elif original.get("model_type") == "gte":  # converted by the authors
        config["rope_parameters"] = original["rope_parameters"]
    else:
        raise ModelUnavailableError(
            f"{spec.repo}: model_type in config.json is {original.get('model_type')!r}, not 'new'."
        )
    write_json(target / "config.json", config)
    link_weights(source, target)


def rope_parameters(config: dict[str, Any]) -> dict[str, Any]:
    """Translate the original's rotary settings for the native class."""
    theta, scaling = float(config["rope_theta"]), config.get("rope_scaling")
    if not scaling:
        return {"rope_type": "default", "rope_theta": theta}
    factor = float(scaling["factor"])
    width = config["hidden_size"] // config["num_attention_heads"]
    return {"rope_type": "linear", "factor": factor ** (2 / width), "rope_theta": theta * factor}


def _refuse_variants(config: dict[str, Any], spec: ModelSpec) -> None:
    scaling = config.get("rope_scaling") or {"type": "ntk"}
    supported = {
        "position_embedding_type": config.get("position_embedding_type", "rope") == "rope",
        "layer_norm_type": config.get("layer_norm_type", "layer_norm") == "layer_norm",
        "logn_attention_scale": not config.get("logn_attention_scale"),
        "rope_scaling": scaling.get("type") == "ntk",
    }
    require_supported(supported, spec)
