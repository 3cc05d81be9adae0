"""What tokenisation makes: sequences, and what was cut to make them fit."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import Literal

Truncate = Literal["end", "start", "refuse"]
"""What happens to an input that is too long: its end or its start is cut off, or the request is refused."""

Limit = Literal["model", "request", "query", "bytes"]
"""Whose limit cut an input: the model's, the request's own, the query's share of a pair, or MAX_TEXT_BYTES."""

QUERY = -1
"""Stands for the query among the indexes of a request's documents."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One input of the model: token ids with special tokens, and segment ids where the model reads them."""

    input_ids: list[int]
    token_type_ids: list[int] | None = None
    unpooled: int = 0
    """Leading tokens that have no part in pooling (an instruction, for models that leave it out)."""

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class Truncation:
    """An input that was cut: its place in the request, the tokens that it had and the tokens that were kept."""

    index: int
    tokens: int
    kept: int
    exact: bool = True
    """False: the text was so long that `tokens` counts only a part of it."""
    by: Limit = "model"


def cut_by_model(index: int, tokens: int, max_tokens: int, *, whole: bool) -> list[Truncation]:
    """What of an input of so many tokens the model's limit cuts, or else MAX_TEXT_BYTES has cut; `whole`: nothing was
    left unread."""
    if tokens > max_tokens:
        return [Truncation(index, tokens, max_tokens, whole)]
    return [] if whole else [Truncation(index, tokens, tokens, whole, "bytes")]


def keep(ids: list[int], count: int, truncate: Truncate) -> list[int]:
    """The `count` tokens that remain of a text."""
    return ids[max(0, len(ids) - count) :] if truncate == "start" else ids[:count]


def longest_first(first: int, second: int, room: int, *, odd_to_first: bool = False) -> tuple[int, int]:
    """Tokens to keep of each text of a pair so that both fit: the longer one is cut first.

    The rule of the tokenizers library (`TruncationStrategy::LongestFirst`); with `odd_to_first` that of the
    tokenizers in Python, which differs by one token where both texts are cut. Neither text loses everything: a text
    of half the room or less is kept whole.
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


Encodings = tuple[list[Sequence], list[Truncation]]
"""Sequences in the order of their inputs, and which inputs were cut."""


def joined(parts: SequenceOf[Encodings]) -> Encodings:
    """The encodings of consecutive parts of a request as those of the whole; the query is reported once."""
    sequences: list[Sequence] = []
    truncations: dict[int, Truncation] = {}
    for part, cuts in parts:
        for cut in cuts:
            index = QUERY if cut.index == QUERY else cut.index + len(sequences)
            truncations[index] = replace(cut, index=index)
        sequences += part
    return sequences, list(truncations.values())
