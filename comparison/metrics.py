"""Measures of a ranking, each for one query, as in trec_eval (github.com/usnistgov/trec_eval)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def ndcg(ranking: Sequence[str], grades: Mapping[str, float], depth: int) -> float:
    """Discounted cumulative gain over that of the best ranking (Järvelin & Kekäläinen 2002).

    The gain is the grade, and rank r divides it by log2(r + 1): trec_eval's ndcg_cut.
    """
    best = _discounted(sorted(grades.values(), reverse=True)[:depth])
    return _discounted([grades.get(passage, 0.0) for passage in ranking[:depth]]) / best


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, float], depth: int) -> float:
    """1 / rank of the first relevant passage; 0 if none of the first `depth` is relevant."""
    return next((1 / rank for rank, passage in enumerate(ranking[:depth], start=1) if passage in grades), 0.0)


def recall(ranking: Sequence[str], grades: Mapping[str, float], depth: int) -> float:
    """The share of the relevant passages among the first `depth`."""
    return sum(passage in grades for passage in ranking[:depth]) / len(grades)


def overlap(ranking: Sequence[str], other: Sequence[str], depth: int) -> float:
    """The share of the first `depth` passages of one ranking that are among the first of another."""
    first = set(ranking[:depth])
    return len(first & set(other[:depth])) / len(first)
