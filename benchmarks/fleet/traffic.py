"""The requests: when they arrive, and how many tokens their texts have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.workload import MAX_WORDS, MEDIAN_WORDS, MIN_WORDS, SPREAD

TOKENS_PER_WORD = 1.16
"""Of the benchmark's passages, which have 57 words and 66 tokens on average."""
SEARCH_TOKENS = (7, 17)
"""Shortest and longest search query. Those of the benchmark have 12 tokens on average."""


@dataclass(frozen=True)
class Request:
    """One request. `lengths` has the tokens of each of its texts."""

    kind: str
    arrives_s: float
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """Requests of one kind, as a Poisson process."""

    name: str
    per_s: float
    lengths: Callable[[np.random.Generator], Sequence[int]]
    """Draws the tokens of the texts of one request."""

    def times(self, factor: float) -> Kind:
        """The same at another rate."""
        return replace(self, per_s=self.per_s * factor)


def search(per_s: float) -> Kind:
    """Search queries: one short text each."""
    return Kind("search", per_s, lambda rng: (int(rng.integers(SEARCH_TOKENS[0], SEARCH_TOKENS[1] + 1)),))


def bulk(per_s: float, texts: int = 64) -> Kind:
    """Passages for an index, `texts` in each request; many are short and few are long, as in benchmarks/workload.py."""

    def lengths(rng: np.random.Generator) -> Sequence[int]:
        words = rng.lognormal(math.log(MEDIAN_WORDS), SPREAD, texts).clip(MIN_WORDS, MAX_WORDS)
        return [int(tokens) for tokens in TOKENS_PER_WORD * words]

    return Kind("bulk", per_s, lengths)


def poisson(kinds: Sequence[Kind], seconds: float, seed: int) -> list[Request]:
    """Requests of all kinds for so many seconds, in the order of their arrival."""
    return steps([(seconds, kinds)], seed)


def steps(parts: Sequence[tuple[float, Sequence[Kind]]], seed: int) -> list[Request]:
    """Requests whose rates change: each part has its seconds and its kinds."""
    rng = np.random.default_rng(seed)
    found: list[Request] = []
    begin = 0.0
    for seconds, kinds in parts:
        for kind in kinds:
            found += (
                Request(kind.name, begin + at, tuple(kind.lengths(rng))) for at in _arrivals(kind.per_s, seconds, rng)
            )
        begin += seconds
    return sorted(found, key=lambda request: request.arrives_s)


def _arrivals(per_s: float, seconds: float, rng: np.random.Generator) -> Iterator[float]:
    at = rng.exponential(1 / per_s) if per_s else seconds
    while at < seconds:
        yield at
        at += rng.exponential(1 / per_s)
