"""nomic-embed-text: the same tensors, a config for the native `nomic_bert` class.

Its config.json has the keys of GPT-2 (n_embd, n_positions, rotary_emb_base), which the native class ignores. The
class's defaults fit v1 and v1.5 in all but the number of positions, so a wrong translation would not be noticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from importing.conversion import native
from importing.conversion.checkpoint import link_weights, read_json, require_supported, write_json
from models.catalog import ModelSpec

_KEYS = {
    "vocab_size": "vocab_size",
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "layer_norm_eps": "layer_norm_epsilon",
    "type_vocab_size": "type_vocab_size",
}
"""Native key -> key of the repository."""
_ABSENT = (
    *("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "prenorm", "causal", "use_rms_norm", "parallel_block"),
    *("rotary_emb_interleaved", "rotary_emb_scale_base", "rotary_scaling_factor", "num_experts"),
)


def convert(source: Path, target: Path, spec: ModelSpec) -> None:
    """Link the weights, whose names do not change, and write a native config.json."""
    original = cast(dict[str, Any], read_json(source / "config.json"))
    if "n_embd" not in original:  # converted by the authors
        return native.convert(source, target, spec)
    _refuse_variants(original, spec)
    config = {key: original[theirs] for key, theirs in _KEYS.items()}
    config |= {"model_type": "nomic_bert", "architectures": ["NomicBertModel"], "hidden_act": "silu"}
    config |= {"rope_parameters": {"rope_type": "default", "rope_theta": float(original["rotary_emb_base"])}}
    write_json(target / "config.json", config | {"pad_token_id": original.get("pad_token_id") or 0})
    return link_weights(source, target)


def _refuse_variants(config: dict[str, Any], spec: ModelSpec) -> None:
    """The native class has SwiGLU, post-norm, rotary positions for whole heads, and no biases."""
    supported = {key: not config.get(key) for key in _ABSENT} | {
        "activation_function": config.get("activation_function") == "swiglu",
        "rotary_emb_fraction": config.get("rotary_emb_fraction") == 1.0,
    }
    require_supported(supported, spec)
