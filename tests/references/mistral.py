"""The Mistral decoder stack (Jiang et al. 2023), shared by last_token.py and nv_embed.py.

Read in transformers 4.34-4.42, models/mistral/modeling_mistral.py.
"""

from typing import Any

import numpy as np

from .formulas import attention, inverse_frequencies, linear, rms_norm, rotate, silu, split_heads
from .reading import Array, Tensors


def last_states(tensors: Tensors, config: dict[str, Any], ids: list[int], *, prefix: str, causal: bool) -> Array:
    """Every token after the last layer and the final norm: (T, H).

    In a causal layer, a token attends to itself and the `sliding_window - 1` tokens before it, otherwise to all.
    """
    distance = np.arange(len(ids))[:, None] - np.arange(len(ids))[None, :]
    window = config.get("sliding_window") or len(ids)
    seen = (distance >= 0) & (distance < window) if causal else np.ones(distance.shape, dtype=bool)
    bias: Array = np.where(seen, 0.0, -np.inf)
    hidden = tensors[f"{prefix}embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(tensors, config, f"{prefix}layers.{layer}", hidden, bias)
    return rms_norm(hidden, tensors, f"{prefix}norm", config["rms_norm_eps"])


def _layer(tensors: Tensors, config: dict[str, Any], name: str, hidden: Array, bias: Array) -> Array:
    """Pre-norm; key and value head j serve the query heads j * g .. (j + 1) * g - 1; SwiGLU."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    eps = config["rms_norm_eps"]
    normed = rms_norm(hidden, tensors, f"{name}.input_layernorm", eps)
    query = split_heads(linear(normed, tensors, f"{name}.self_attn.q_proj"), heads)
    key = split_heads(linear(normed, tensors, f"{name}.self_attn.k_proj"), kv_heads)
    value = split_heads(linear(normed, tensors, f"{name}.self_attn.v_proj"), kv_heads)
    turns = inverse_frequencies(config["rope_theta"], query.shape[-1])
    key, value = (np.repeat(part, heads // kv_heads, axis=0) for part in (rotate(key, turns), value))
    mixed = attention(rotate(query, turns), key, value, bias)
    hidden = hidden + linear(mixed, tensors, f"{name}.self_attn.o_proj")
    normed = rms_norm(hidden, tensors, f"{name}.post_attention_layernorm", eps)
    gate = silu(linear(normed, tensors, f"{name}.mlp.gate_proj"))
    up = linear(normed, tensors, f"{name}.mlp.up_proj")
    return hidden + linear(gate * up, tensors, f"{name}.mlp.down_proj")
