"""jinaai/jina-reranker-v2-base-multilingual: XLM-RoBERTa with fused projections.

Read in the remote code of the repository: configuration_xlm_roberta.py, modeling_xlm_roberta.py, block.py,
mha.py, mlp.py, embedding.py, all adapted from flash_attn/models/bert.py.
"""

from pathlib import Path

import numpy as np

from .formulas import attention, gelu, layer_norm, linear, split_heads
from .reading import Array, Tensors, read_config, read_tensors, read_tokenizer, roberta_pair_ids


def logits(folder: Path, pairs: list[tuple[str, str]], max_tokens: int) -> Array:
    """The raw logit of every (query, document), before any sigmoid: (N,)."""
    config, tensors, tokenizer = read_config(folder), read_tensors(folder), read_tokenizer(folder)
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    scores = []
    for pair in pairs:
        ids = roberta_pair_ids(tokenizer, pair, max_tokens)
        hidden = _embed(tensors, ids, pad_id=config["pad_token_id"], eps=eps)
        for layer in range(config["num_hidden_layers"]):
            hidden = _layer(tensors, f"roberta.encoder.layers.{layer}", hidden, heads=heads, eps=eps)
        scores.append(_head(tensors, hidden[0]))
    return np.array(scores)


def _embed(tensors: Tensors, ids: list[int], *, pad_id: int, eps: float) -> Array:
    """Word + position + segment 0, then `emb_ln`; position i of the text is row i + pad_id + 1.

    embedding.py: `create_position_ids_from_input_ids`, cumulated over the tokens that are not padding.
    """
    kept = np.array(ids) != pad_id
    positions = np.cumsum(kept) * kept + pad_id
    summed = (
        tensors["roberta.embeddings.word_embeddings.weight"][ids]
        + tensors["roberta.embeddings.position_embeddings.weight"][positions]
        + tensors["roberta.embeddings.token_type_embeddings.weight"][0]
    )
    return layer_norm(summed, tensors, "roberta.emb_ln", eps)


def _layer(tensors: Tensors, name: str, hidden: Array, *, heads: int, eps: float) -> Array:
    """Post-norm (block.py, prenorm=False); Wqkv stacks q, k, v along the output (mha.py, "(three h d)")."""
    fused = linear(hidden, tensors, f"{name}.mixer.Wqkv")
    query, key, value = (split_heads(part, heads) for part in np.split(fused, 3, axis=-1))
    mixed = linear(attention(query, key, value), tensors, f"{name}.mixer.out_proj")
    hidden = layer_norm(hidden + mixed, tensors, f"{name}.norm1", eps)
    grown = gelu(linear(hidden, tensors, f"{name}.mlp.fc1"))
    return layer_norm(hidden + linear(grown, tensors, f"{name}.mlp.fc2"), tensors, f"{name}.norm2", eps)


def _head(tensors: Tensors, first: Array) -> float:
    """dense, tanh, out_proj on the last state of `<s>` (XLMRobertaClassificationHead); there is no pooler."""
    squashed = np.tanh(linear(first, tensors, "classifier.dense"))
    return float(linear(squashed, tensors, "classifier.out_proj")[0])
