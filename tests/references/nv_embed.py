"""nvidia/NV-Embed-v2: Mistral without the causal mask, then latent attention, then a masked mean.

Read in the repository's modeling_nvembed.py and configuration_nvembed.py (Lee et al. 2024, NV-Embed).
"""

from pathlib import Path

import numpy as np

from .formulas import attention, gelu, layer_norm, linear, split_heads, unit
from .mistral import last_states
from .reading import Array, Tensors, plain_ids, read_config, read_tensors, read_tokenizer, special_ids

LAYER_NORM_EPS = 1e-5  # torch.nn.LayerNorm's default; PreNorm passes none


def embeddings(folder: Path, texts: list[str], *, instruction: str = "", max_tokens: int) -> Array:
    """Unit vectors (N, H), as of `NVEmbedModel.encode(texts, instruction=..., max_length=...)`.

    Without any token after the instruction, the mean divides by zero, as in the original.
    """
    config, tensors = read_config(folder), read_tensors(folder)
    skipped = instruction_tokens(folder, instruction) if config["is_mask_instruction"] else 0
    latent = config["latent_attention_config"]
    rows = []
    for ids in token_ids(folder, texts, instruction=instruction, max_tokens=max_tokens):
        hidden = last_states(tensors, config["text_config"], ids, prefix="embedding_model.", causal=False)
        pooled = latent_attention(tensors, hidden, heads=latent["num_cross_heads"])[skipped:].mean(axis=0)
        rows.append(unit(pooled) if latent["output_normalize"] else pooled)
    return np.stack(rows)


def token_ids(folder: Path, texts: list[str], *, instruction: str, max_tokens: int) -> list[list[int]]:
    """`<s>` and the tokens of instruction + text + "</s>", truncated on the right: long texts lose `</s>`.

    input_transform_func appends the end token as text, so truncation does not keep it.
    """
    tokenizer = read_tokenizer(folder)
    start = special_ids(tokenizer, ("<s>",))
    return [(start + plain_ids(tokenizer, f"{instruction}{text}</s>"))[:max_tokens] for text in texts]


def instruction_tokens(folder: Path, instruction: str) -> int:
    """Leading positions that the mean excludes: `len(tokenizer.tokenize(instruction))`, without `<s>`.

    The sequence starts with `<s>`, so the mask covers `<s>` and all but the last of these tokens. This is exact with
    the card's template: its final space is a token only at the end of a text.
    """
    return len(plain_ids(read_tokenizer(folder), instruction)) if instruction else 0


def latent_attention(tensors: Tensors, hidden: Array, *, heads: int) -> Array:
    """Cross attention from tokens to learned latents, then GEGLU, each with a residual: (T, H) -> (T, H).

    LatentAttentionModel: queries from norm(hidden), keys and values from norm_context(latents), no biases, no
    mask, scale 1 / sqrt(cross_dim_head); `net.0` has x first, then the gate (GEGLU: x * gelu(gate)).
    """
    block = "latent_attention_model.cross_attend_blocks"
    normalized = layer_norm(hidden, tensors, f"{block}.0.norm", LAYER_NORM_EPS)
    latents = tensors["latent_attention_model.latents"]
    latents = layer_norm(latents, tensors, f"{block}.0.norm_context", LAYER_NORM_EPS)
    query = split_heads(linear(normalized, tensors, f"{block}.0.fn.to_q"), heads)
    fused = linear(latents, tensors, f"{block}.0.fn.to_kv")
    key, value = (split_heads(part, heads) for part in np.split(fused, 2, axis=-1))
    hidden = linear(attention(query, key, value), tensors, f"{block}.0.fn.to_out") + hidden
    normed = layer_norm(hidden, tensors, f"{block}.1.norm", LAYER_NORM_EPS)
    plain, gate = np.split(linear(normed, tensors, f"{block}.1.fn.net.0"), 2, axis=-1)
    return linear(plain * gelu(gate), tensors, f"{block}.1.fn.net.2") + hidden
