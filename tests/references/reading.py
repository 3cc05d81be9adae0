"""Reads an original folder: its config, its tensors as float64, its tokens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer

Array = NDArray[np.float64]
Tensors = dict[str, Array]


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, unchanged."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def read_tensors(folder: Path) -> Tensors:
    """All tensors with their Hub names, converted to float64, which is exact for bf16 and fp16."""
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    return {
        key: tensor.double().numpy()
        for name in names
        for key, tensor in load_file(folder / name).items()
        if tensor.is_floating_point()
    }


def read_tokenizer(folder: Path) -> Tokenizer:
    """tokenizer.json without its truncation and padding."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def plain_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text without special tokens."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def pair_lengths(query: int, document: int, budget: int) -> tuple[int, int]:
    """Number of tokens that `longest_first` keeps of each side, as in the fast tokenizers.

    The longer side is truncated to the length of the shorter one. If that is not enough, both get half, and the longer
    side an odd token (the document if both are equal): `tokenizers/src/utils/truncation.rs`. The slow tokenizers in
    Python give the odd token to the query.
    """
    if query + document <= budget:
        return query, document
    shorter = min(query, document)
    longer = max(shorter, budget - shorter)
    if shorter + longer > budget:
        shorter, longer = budget // 2, budget - budget // 2
    return (longer, shorter) if query > document else (shorter, longer)


def roberta_pair_ids(tokenizer: Tokenizer, pair: tuple[str, str], max_tokens: int) -> list[int]:
    """`<s> query </s> </s> document </s>`, truncated longest first: the RoBERTa and XLM-R template.

    Source: `XLMRobertaTokenizer.build_inputs_with_special_tokens`, Liu et al. 2019 (RoBERTa), section 4.2.
    """
    query, document = (plain_ids(tokenizer, text) for text in pair)
    start, end = special_ids(tokenizer, ("<s>", "</s>"))
    kept = pair_lengths(len(query), len(document), max_tokens - 4)
    return [start, *query[: kept[0]], end, end, *document[: kept[1]], end]


def special_ids(tokenizer: Tokenizer, tokens: Sequence[str]) -> list[int]:
    """The ids of special tokens; KeyError if tokenizer.json does not have one."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens]
