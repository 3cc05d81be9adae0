"""Divide inputs into forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from runners.batching.costs import Costs


def plan(lengths: Sequence[int], budget: int, costs: Costs, *, padding_cost: float) -> list[list[int]]:
    """Divide inputs into the cheapest chunks: the indices of each chunk, short inputs first.

    A chunk has at most `budget` computed tokens (BatchShape.computed; a single input may exceed it). Inputs are sorted
    by length, and dynamic programming minimises the total cost of the chunks.
    """
    if len(lengths) == 1:
        return [[0]]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    sizes = [max(lengths[index], 1) for index in order]
    starts = _cut(sizes, budget, costs, padding_cost) if padding_cost else _fill(sizes, budget)
    chunks: list[list[int]] = []
    end = len(sizes)
    while end:
        chunks.append(order[starts[end] : end])
        end = starts[end]
    return chunks[::-1]


def _cut(sizes: list[int], budget: int, costs: Costs, padding_cost: float) -> list[int]:
    """For each end of a chunk, where the cheapest chunk begins."""
    places = np.arange(len(sizes) + 1)
    own = [0.0, *((1 - padding_cost) * tokens for tokens in accumulate(sizes))]  # computed tokens without padding
    best = np.zeros(len(sizes) + 1)  # lowest cost up to each place, without `costs.token`, which every plan pays
    starts = [0] * (len(sizes) + 1)
    first = 0
    for end, longest in enumerate(sizes, start=1):
        computed, cost = padding_cost * longest, costs.place(longest)
        while first < end - 1 and computed * (end - first) + own[end] - own[first] > budget:
            first += 1
        totals = best[first:end] - cost * places[first:end]
        cheapest = int(totals.argmin())
        best[end], starts[end] = totals[cheapest] + cost * end + costs.call, first + cheapest
    return starts


def _fill(sizes: list[int], budget: int) -> list[int]:
    """The same if padding costs nothing, ten times as fast: fill each chunk up to the budget."""
    starts, start, tokens = [0] * (len(sizes) + 1), 0, 0
    for end, size in enumerate(sizes, start=1):
        tokens += size
        if tokens > budget and end - start > 1:
            start, tokens = end - 1, size
        starts[end] = start
    return starts
