"""Which inputs go into one forward pass, and how large a pass pays."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from runners.backends import OutOfMemoryError
from runners.text.tokenization import Sequence

CALL_COST_TOKENS = 32
"""Fixed cost of one pass in tokens, on a CPU: between 16 and 64 the cuts are equally good (OPENVINO.md, section 4)."""

SMALLEST_BUDGET = 256
KNEE = 0.92
"""A larger pass that is not faster by more than this share only makes others wait longer."""
MIXED_BUDGET = 512
"""Passes up to this size pay also where equal texts are computed no faster in them, as texts of mixed lengths lose less
in larger ones: passages of 8 requests cost 1.20 of their tokens in passes of 256, 1.14 of 512, 1.12 of 1,024."""
SHORT_PASS_S = 0.2
"""But only where others do not wait longer than this for such a pass."""
LONGEST_TRIAL_S = 0.5
TRIAL_TOKENS = 64
_TRIALS = 2


@dataclass(frozen=True)
class Extent:
    """How large a pass is: its inputs, the tokens of the longest one and of all."""

    count: int
    longest: int
    tokens: int

    @classmethod
    def of(cls, lengths: SequenceOf[int]) -> Extent:
        """Of inputs of these lengths, at least one."""
        return cls(len(lengths), max(lengths), sum(lengths))

    def __add__(self, other: Extent) -> Extent:
        return Extent(self.count + other.count, max(self.longest, other.longest), self.tokens + other.tokens)

    def computed(self, padding_cost: float) -> float:
        """Tokens that the pass computes; one of padding counts as `padding_cost` (Backend)."""
        return self.tokens + padding_cost * (self.count * self.longest - self.tokens)


def plan(
    lengths: SequenceOf[int], budget: int, *, padding_cost: float = 1.0, call_cost: int = CALL_COST_TOKENS
) -> list[list[int]]:
    """Cut inputs into chunks that are cheapest to run: indices of each chunk, short inputs first.

    At most `budget` computed tokens are in a chunk (one input alone may exceed it). Sorted by length, the cuts minimise
    the sum over chunks of (Extent.computed + `call_cost`) by dynamic programming.
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
    """Where the chunk that ends before each place begins, for the cheapest cuts."""
    places = np.arange(len(sizes) + 1)
    own = [0.0, *((1 - padding_cost) * tokens for tokens in accumulate(sizes))]  # what tokens cost beside a rectangle
    best = np.zeros(len(sizes) + 1)  # of what stands before each place, less its `own`
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
    """The same where padding costs nothing, in a tenth of the time: each chunk is filled up to the budget."""
    starts, start, tokens = [0] * (len(sizes) + 1), 0, 0
    for end, size in enumerate(sizes, start=1):
        tokens += size
        if tokens > budget and end - start > 1:
            start, tokens = end - 1, size
        starts[end] = start
    return starts


def learn_budget(run: Callable[[list[Sequence]], object], text: Sequence, most: int) -> tuple[int, float]:
    """Tokens of a pass at which throughput stops growing on this device, at most `most`, and its tokens a second.

    Measured on passes of doubling size, all of one text; ends early where a pass takes long or all memory already.
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


def learn_call_cost(run: Callable[[list[Sequence]], object], text: Sequence, budget: int) -> int:
    """Fixed cost of one forward pass in tokens: what passes of `budget` compute in the time that one text takes.

    A pass that Python launches kernel by kernel takes a GPU milliseconds, in which it could compute thousands.
    """
    one_text_s = len(text) / _speed(run, text, len(text))
    return max(CALL_COST_TOKENS, round(one_text_s * _speed(run, text, budget)) - len(text))


def _speed(run: Callable[[list[Sequence]], object], text: Sequence, budget: int) -> float:
    """Tokens a second of one pass: the better of two, as the first may compile and allocate."""
    sequences = [text] * max(1, budget // len(text))
    best = float("inf")
    for _ in range(_TRIALS):
        started = time.perf_counter()
        run(sequences)
        best = min(best, time.perf_counter() - started)
    return len(text) * len(sequences) / max(best, 1e-6)
