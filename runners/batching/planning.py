"""Divide inputs into forward passes, and measure the best size of a pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from runners.contracts import OutOfMemoryError, TokenSequence, TokenSequences

CALL_COST_TOKENS = 32
"""Fixed cost of one pass in tokens, on a CPU; values from 16 to 64 give equally good plans (measured)."""

SMALLEST_BUDGET = 256
KNEE = 0.92
"""Stop enlarging passes once a smaller one reaches this share of the larger one's throughput."""
MIXED_BUDGET = 512
"""Up to this size, larger passes pay even without higher throughput on equal texts, because mixed lengths need less
padding: passages of 8 requests cost 1.20 of their tokens in passes of 256, 1.14 of 512, 1.12 of 1,024."""
SHORT_PASS_S = 0.2
"""But only if such a pass takes no longer than this."""
LONGEST_TRIAL_S = 0.5
TRIAL_TOKENS = 64
_TRIALS = 2


def plan(
    lengths: Sequence[int], budget: int, *, padding_cost: float = 1.0, call_cost: int = CALL_COST_TOKENS
) -> list[list[int]]:
    """Divide inputs into the cheapest chunks: the indices of each chunk, short inputs first.

    A chunk has at most `budget` computed tokens (a single input may exceed it). Inputs are sorted by length, and
    dynamic programming minimises the sum over chunks of (BatchShape.computed + `call_cost`).
    """
    if len(lengths) == 1:
        return [[0]]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    sizes = [max(lengths[index], 1) for index in order]
    starts = _cut(sizes, budget, padding_cost, call_cost) if padding_cost else _fill(sizes, budget)
    chunks: list[list[int]] = []
    end = len(sizes)
    while end:
        chunks.append(order[starts[end] : end])
        end = starts[end]
    return chunks[::-1]


def _cut(sizes: list[int], budget: int, padding_cost: float, call_cost: int) -> list[int]:
    """For each end of a chunk, where the cheapest chunk begins."""
    places = np.arange(len(sizes) + 1)
    own = [0.0, *((1 - padding_cost) * tokens for tokens in accumulate(sizes))]  # cost of tokens without padding
    best = np.zeros(len(sizes) + 1)  # cheapest cost up to each place, minus its `own`
    starts = [0] * (len(sizes) + 1)
    first = 0
    for end, longest in enumerate(sizes, start=1):
        each = padding_cost * longest
        while first < end - 1 and each * (end - first) + own[end] - own[first] > budget:
            first += 1
        costs = best[first:end] - each * places[first:end]
        cheapest = int(costs.argmin())
        best[end], starts[end] = costs[cheapest] + each * end + call_cost, first + cheapest
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


def learn_budget(run: Callable[[TokenSequences], object], text: TokenSequence, most: int) -> tuple[int, float]:
    """Measure the pass size in tokens (at most `most`) at which throughput stops growing, and its tokens per second.

    Doubles the size of passes of one repeated text; stops early if a pass takes long or exhausts the memory.
    """
    budget = min(SMALLEST_BUDGET, most)
    speed = _speed(run, text, budget)
    while budget * 2 <= most and budget / speed < LONGEST_TRIAL_S:
        try:
            larger = _speed(run, text, budget * 2)
        except OutOfMemoryError:
            break
        short = budget * 2 <= MIXED_BUDGET and budget * 2 / larger <= SHORT_PASS_S
        if speed >= KNEE * larger and not short:
            break
        budget, speed = budget * 2, larger
    return budget, speed


def learn_call_cost(run: Callable[[TokenSequences], object], text: TokenSequence, budget: int) -> int:
    """Measure the fixed cost of a pass: the tokens that passes of `budget` compute in the time of one text.

    Launching a pass kernel by kernel takes milliseconds, in which a GPU computes thousands of tokens.
    """
    one_text_s = len(text) / _speed(run, text, len(text))
    return max(CALL_COST_TOKENS, round(one_text_s * _speed(run, text, budget)) - len(text))


def _speed(run: Callable[[TokenSequences], object], text: TokenSequence, budget: int) -> float:
    """Tokens per second of one pass: the better of two, because the first may compile and allocate."""
    sequences = [text] * max(1, budget // len(text))
    best = float("inf")
    for _ in range(_TRIALS):
        started = time.perf_counter()
        run(sequences)
        best = min(best, time.perf_counter() - started)
    return len(text) * len(sequences) / max(best, 1e-6)
