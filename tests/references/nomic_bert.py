"""nomic-ai/nomic-embed-text-v1 and v1.5: post-norm BERT with rotary positions and SwiGLU, without biases.

Read in nomic-ai/nomic-bert-2048, modeling_hf_nomic_bert.py (Nussbaum et al. 2024). Without rotary_scaling_factor, the
frequencies do not depend on the length of the text (NomicBertRotaryEmbedding).
"""

from pathlib import Path
from typing import Any

import numpy as np

from .formulas import attention, inverse_frequencies, layer_norm, linear, rotate, silu, split_heads, unit
from .reading import Array, Tensors, plain_ids, read_config, read_tensors, read_tokenizer, special_ids


def embeddings(folder: Path, texts: list[str], *, instruction: str = "", max_tokens: int) -> Array:
    """Unit vectors, the mean of all tokens: (N, H). `instruction` is prepended to each text unchanged."""
    config, tensors, tokenizer = read_config(folder), read_tensors(folder), read_tokenizer(folder)
    start, end = special_ids(tokenizer, ("[CLS]", "[SEP]"))
    rows = []
    for text in texts:
        ids = [start, *plain_ids(tokenizer, instruction + text)[: max_tokens - 2], end]
        rows.append(unit(last_states(tensors, config, ids).mean(axis=0)))
    return np.stack(rows)


def last_states(tensors: Tensors, config: dict[str, Any], ids: list[int]) -> Array:
    """Every token after the last layer: (T, H)."""
    eps = config["layer_norm_epsilon"]
    words = tensors["embeddings.word_embeddings.weight"][ids]
    hidden = layer_norm(words + tensors["embeddings.token_type_embeddings.weight"][0], tensors, "emb_ln", eps)
    turns = inverse_frequencies(config["rotary_emb_base"], config["n_embd"] // config["n_head"])
    for layer in range(config["n_layer"]):
        name = f"encoder.layers.{layer}"
        query, key, value = (
            split_heads(part, config["n_head"])
            for part in np.split(linear(hidden, tensors, f"{name}.attn.Wqkv"), 3, axis=-1)
        )
        mixed = linear(attention(rotate(query, turns), rotate(key, turns), value), tensors, f"{name}.attn.out_proj")
        hidden = layer_norm(hidden + mixed, tensors, f"{name}.norm1", eps)
        gated = linear(hidden, tensors, f"{name}.mlp.fc11") * silu(linear(hidden, tensors, f"{name}.mlp.fc12"))
        hidden = layer_norm(hidden + linear(gated, tensors, f"{name}.mlp.fc2"), tensors, f"{name}.norm2", eps)
    return hidden
