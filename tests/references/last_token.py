"""intfloat/e5-mistral-7b-instruct: the causal Mistral, with the state of its final `</s>`.

Read on the model card (`last_token_pool`, `get_detailed_instruct`) and in Wang et al. 2024, "Improving Text
Embeddings with Large Language Models", section 3.
"""

from pathlib import Path

import numpy as np

from .formulas import unit
from .mistral import last_states
from .reading import Array, plain_ids, read_config, read_tensors, read_tokenizer, special_ids


def embeddings(folder: Path, texts: list[str], *, instruction: str = "", max_tokens: int) -> Array:
    """Unit vectors of the last token: (N, H). `instruction` is prepended to each text unchanged."""
    config, tensors = read_config(folder), read_tensors(folder)
    rows = [
        unit(last_states(tensors, config, ids, prefix="", causal=True)[-1])
        for ids in token_ids(folder, [instruction + text for text in texts], max_tokens)
    ]
    return np.stack(rows)


def token_ids(folder: Path, texts: list[str], max_tokens: int) -> list[list[int]]:
    """`<s> text </s>`, both kept by truncation (tokenizer_config.json: add_bos_token and add_eos_token)."""
    tokenizer = read_tokenizer(folder)
    start, end = special_ids(tokenizer, ("<s>", "</s>"))
    return [[start, *plain_ids(tokenizer, text)[: max_tokens - 2], end] for text in texts]
