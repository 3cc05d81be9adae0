"""jinaai/jina-reranker-v1-turbo-en: JinaBERT, symmetric ALiBi and a GEGLU MLP.

Read in jinaai/jina-bert-implementation (modeling_bert.py) as its readers restate it: `models/jina.rs` of
text-embeddings-inference, `jina_bert.py` of vLLM-TPU, Nexa's MLX port; Günther et al. 2023, Jina Embeddings.
The 37,771,777 parameters counted in turbo-en's file fit exactly this variant, without QK norms and without
`layer_norm_1` and `layer_norm_2`.
"""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .formulas import attention, gelu, layer_norm, linear, split_heads
from .reading import Array, Tensors, read_config, read_tensors, read_tokenizer, roberta_pair_ids

Slopes = Literal["reranker", "paper"]


def logits(folder: Path, pairs: list[tuple[str, str]], max_tokens: int, slopes: Slopes = "reranker") -> Array:
    """The raw logit of every (query, document): (N,).

    The BERT head: pooler (dense, tanh) on the first token, then the linear classifier. `emb_pooler: mean` in
    the config concerns `encode()` only.
    """
    config, tensors, tokenizer = read_config(folder), read_tensors(folder), read_tokenizer(folder)
    scores = []
    for pair in pairs:
        ids = roberta_pair_ids(tokenizer, pair, max_tokens)
        first = _last_states(tensors, config, ids, head_slopes(config["num_attention_heads"], slopes))[0]
        pooled = np.tanh(linear(first, tensors, "bert.pooler.dense"))
        scores.append(float(linear(pooled, tensors, "classifier")[0]))
    return np.array(scores)


def head_slopes(heads: int, slopes: Slopes = "reranker") -> Array:
    """One positive ALiBi slope a head: (heads,).

    Press et al. 2022: 2^(-8/n), 2^(-16/n), ... for n a power of two; otherwise those of the power of two
    below, then every other slope of the power of two above. The reranker's own modeling_bert.py halves the
    latter ("quick fix on large jump at header=12"): 2^-1.5, 2^-2.5, 2^-3.5, 2^-4.5 for 12 heads. Source: a GGUF
    repair script for this model, whose results were within 0.005 of the Hub's code at revision b8c14f4 (stored
    file 67206688007); text-embeddings-inference#582, which uses the paper's slopes, reports different scores.
    "paper" gives the slopes of jina-embeddings-v2.
    """
    below = 2 ** math.floor(math.log2(heads))
    extra = _power_of_two_slopes(2 * below)[0::2][: heads - below]
    return np.concatenate([_power_of_two_slopes(below), extra / 2.0 if slopes == "reranker" else extra])


def _power_of_two_slopes(heads: int) -> Array:
    """2^(-8 i / heads) for i = 1 .. heads."""
    return np.asarray(2.0 ** (-8.0 * np.arange(1, heads + 1) / heads))


def _last_states(tensors: Tensors, config: dict[str, Any], ids: list[int], slopes: Array) -> Array:
    """Every token after the last layer: (T, H). Positions only affect ALiBi."""
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    positions = np.arange(len(ids), dtype=np.float64)
    bias = -slopes[:, None, None] * np.abs(positions[None, :] - positions[:, None])
    summed = (
        tensors["bert.embeddings.word_embeddings.weight"][ids]
        + tensors["bert.embeddings.token_type_embeddings.weight"][0]
    )
    hidden = layer_norm(summed, tensors, "bert.embeddings.LayerNorm", eps)
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(tensors, f"bert.encoder.layer.{layer}", hidden, bias, heads=heads, eps=eps)
    return hidden


def _layer(tensors: Tensors, name: str, hidden: Array, bias: Array, *, heads: int, eps: float) -> Array:
    """Post-norm; the bias is added after the scaling by sqrt(D); GELU on the first half of `gated_layers`.

    JinaBertSelfAttention, JinaBertSelfOutput and JinaBertGLUMLP (with its residual and layer norm).
    """
    inside = f"{name}.attention.self"
    query, key, value = (
        split_heads(linear(hidden, tensors, f"{inside}.{part}"), heads) for part in ("query", "key", "value")
    )
    mixed = linear(attention(query, key, value, bias), tensors, f"{name}.attention.output.dense")
    hidden = layer_norm(hidden + mixed, tensors, f"{name}.attention.output.LayerNorm", eps)
    gated, plain = np.split(linear(hidden, tensors, f"{name}.mlp.gated_layers"), 2, axis=-1)
    shrunk = linear(gelu(gated) * plain, tensors, f"{name}.mlp.wo")
    return layer_norm(hidden + shrunk, tensors, f"{name}.mlp.layernorm", eps)
