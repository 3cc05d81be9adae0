"""Alibaba-NLP/gte-multilingual-*: the `new` encoder, RoPE with fixed NTK scaling and a gated MLP.

Read in Alibaba-NLP/new-impl, modeling.py and configuration.py (Zhang et al. 2024, mGTE).
"""

from pathlib import Path
from typing import Any

import numpy as np

from .formulas import attention, gelu, inverse_frequencies, layer_norm, linear, rotate, split_heads, unit
from .reading import (
    Array,
    Tensors,
    plain_ids,
    read_config,
    read_tensors,
    read_tokenizer,
    roberta_pair_ids,
    special_ids,
)


def logits(folder: Path, pairs: list[tuple[str, str]], max_tokens: int) -> Array:
    """The raw logit of every (query, document): (N,).

    NewForSequenceClassification: pooler (dense, tanh) on the first token, then the linear classifier.
    """
    config, tensors, tokenizer = read_config(folder), read_tensors(folder), read_tokenizer(folder)
    scores = []
    for pair in pairs:
        first = last_states(tensors, config, roberta_pair_ids(tokenizer, pair, max_tokens))[0]
        pooled = np.tanh(linear(first, tensors, "new.pooler.dense"))
        scores.append(float(linear(pooled, tensors, "classifier")[0]))
    return np.array(scores)


def embeddings(folder: Path, texts: list[str], *, instruction: str = "", max_tokens: int) -> Array:
    """Unit vectors of the first token: (N, H). `instruction` is prepended to each text unchanged."""
    config, tensors, tokenizer = read_config(folder), read_tensors(folder), read_tokenizer(folder)
    start, end = special_ids(tokenizer, ("<s>", "</s>"))
    rows = []
    for text in texts:
        ids = [start, *plain_ids(tokenizer, instruction + text)[: max_tokens - 2], end]
        rows.append(unit(last_states(tensors, config, ids)[0]))
    return np.stack(rows)


def frequencies(config: dict[str, Any]) -> Array:
    """Inverse frequencies under fixed NTK scaling: base * s, and the result divided by s^(2/D): (D/2,).

    NTKScalingRotaryEmbedding without mixed_b. Its constructor fills the cache for max_position_embeddings * s
    positions, so the scaled frequencies hold for short texts too.
    """
    dim = config["hidden_size"] // config["num_attention_heads"]
    scaling = config["rope_scaling"]
    if scaling is None:
        return inverse_frequencies(config["rope_theta"], dim)
    factor = float(scaling["factor"])
    return np.asarray(inverse_frequencies(config["rope_theta"] * factor, dim) / factor ** (2.0 / dim))


def last_states(tensors: Tensors, config: dict[str, Any], ids: list[int]) -> Array:
    """Every token after the last layer: (T, H)."""
    eps = config["layer_norm_eps"]
    summed = tensors["new.embeddings.word_embeddings.weight"][ids]
    if config["type_vocab_size"] > 0:
        summed = summed + tensors["new.embeddings.token_type_embeddings.weight"][0]
    hidden = layer_norm(summed, tensors, "new.embeddings.LayerNorm", eps)
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(tensors, config, f"new.encoder.layer.{layer}", hidden)
    return hidden


def _layer(tensors: Tensors, config: dict[str, Any], name: str, hidden: Array) -> Array:
    """Post-norm; rotary positions of q and k only; `up_gate_proj` has up first, then gate; GELU on the gate.

    NewAttention and NewGatedMLP: `up, gate = split(up_gate)`, `down(gelu(gate) * up)`.
    """
    eps, turns = config["layer_norm_eps"], frequencies(config)
    query, key, value = (
        split_heads(part, config["num_attention_heads"])
        for part in np.split(linear(hidden, tensors, f"{name}.attention.qkv_proj"), 3, axis=-1)
    )
    mixed = attention(rotate(query, turns), rotate(key, turns), value)
    mixed = linear(mixed, tensors, f"{name}.attention.o_proj")
    hidden = layer_norm(hidden + mixed, tensors, f"{name}.attn_ln", eps)
    up, gate = np.split(linear(hidden, tensors, f"{name}.mlp.up_gate_proj"), 2, axis=-1)
    shrunk = linear(gelu(gate) * up, tensors, f"{name}.mlp.down_proj")
    return layer_norm(hidden + shrunk, tensors, f"{name}.mlp_ln", eps)
