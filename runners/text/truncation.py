"""Truncation rules, and the encodings of a request's parts joined together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from runners.contracts import QUERY, Encodings, TokenSequence, Truncate, TruncatedInput

OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "luke", "mpnet", "xlm-roberta-xl"}
"""Model types whose first position is padding_idx + 1, so that two rows of the position table are unused."""
UNLIMITED = 1_000_000
"""The limit of a model without a position table."""


def position_limit(config: Mapping[str, object]) -> int:
    """Number of tokens that the position table allows; UNLIMITED without a table."""
    table = config.get("max_position_embeddings")
    if not isinstance(table, int) or table <= 0:
        return UNLIMITED
    return table - 2 if config.get("model_type") in OFFSET_POSITIONS else table


def longest_start(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """The longest start with at most `tokens` tokens of a text that has more, for tokenizers without offsets.

    By bisection, from twice as many characters on, so that a very long text is not counted as a whole.
    """
    low, high = 0, min(len(text), 2 * tokens)
    while high < len(text) and count(text[:high]) <= tokens:
        low, high = high, min(len(text), 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        if count(text[:middle]) <= tokens:
            low = middle
        else:
            high = middle
    return text[:low]


def cut_by_model(index: int, tokens: int, max_tokens: int, *, whole: bool) -> list[TruncatedInput]:
    """The record of an input of `tokens` tokens that the model's limit truncates, or MAX_TEXT_BYTES; empty otherwise.

    `whole` is false where MAX_TEXT_BYTES left a part of the text unread.
    """
    if tokens > max_tokens:
        return [TruncatedInput(index, tokens, max_tokens, whole)]
    return [] if whole else [TruncatedInput(index, tokens, tokens, whole, "bytes")]


def truncate_ids(ids: list[int], count: int, truncate: Truncate) -> list[int]:
    """The first `count` token ids of a text, or its last ones where the start is cut off."""
    return ids[max(0, len(ids) - count) :] if truncate == "start" else ids[:count]


def longest_first(first: int, second: int, room: int, *, odd_to_first: bool = False) -> tuple[int, int]:
    """Number of tokens to keep of each text of a pair so that both fit; the longer text is truncated first.

    This is the rule of the tokenizers library (`TruncationStrategy::LongestFirst`). `odd_to_first` selects the rule of
    the Python tokenizers, which differs by one token if both texts are truncated. A text of at most half the room is
    kept whole.
    """
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        if odd_to_first:
            return room - room // 2, room // 2
        short, long = room // 2, room // 2 + room % 2
    return (short, long) if first <= second else (long, short)


def joined(parts: Sequence[Encodings]) -> Encodings:
    """Join the encodings of consecutive parts of a request. A truncated query is reported once."""
    sequences: list[TokenSequence] = []
    truncated: dict[int, TruncatedInput] = {}
    for part, cuts in parts:
        for cut in cuts:
            index = QUERY if cut.index == QUERY else cut.index + len(sequences)
            truncated[index] = replace(cut, index=index)
        sequences += part
    return sequences, list(truncated.values())
