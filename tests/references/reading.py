"""What an original folder holds: its config, its tensors as float64, its tokens."""

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
    """config.json as it lies there."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def read_tensors(folder: Path) -> Tensors:
    """Every tensor of the checkpoint under its Hub name, widened to float64 (bf16 and fp16 widen exactly)."""
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
    """tokenizer.json with whatever truncation and padding it was saved with switched off."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def plain_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of the text alone, without the special tokens a template would add."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def pair_lengths(query: int, document: int, budget: int) -> tuple[int, int]:
    """How many tokens of each side stay under `longest_first`, as the fast tokenizers count them.

    The longer side is cut down to the shorter one; if that is not enough both get half, and an odd token goes
    to the side that was longer (to the document when both were equal): `tokenizers/src/utils/truncation.rs`.
    The slow Python tokenizers gave the odd token to the query instead.
    """
    if query + document <= budget:
        return query, document
    shorter = min(query, document)
    longer = max(shorter, budget - shorter)
    if shorter + longer > budget:
        shorter, longer = budget // 2, budget - budget // 2
    return (longer, shorter) if query > document else (shorter, longer)


def roberta_pair_ids(tokenizer: Tokenizer, pair: tuple[str, str], max_tokens: int) -> list[int]:
    """`<s> query </s> </s> document </s>`, cut longest first: the RoBERTa and XLM-R template.

    Source: `XLMRobertaTokenizer.build_inputs_with_special_tokens`, Liu et al. 2019 (RoBERTa), section 4.2.
    """
    query, document = (plain_ids(tokenizer, text) for text in pair)
    start, end = special_ids(tokenizer, ("<s>", "</s>"))
    kept = pair_lengths(len(query), len(document), max_tokens - 4)
    return [start, *query[: kept[0]], end, end, *document[: kept[1]], end]


def special_ids(tokenizer: Tokenizer, tokens: Sequence[str]) -> list[int]:
    """Their ids; KeyError for one that tokenizer.json lacks."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens]
