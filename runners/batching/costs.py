"""What a forward pass costs by its shape: assumed, or measured on this processor when a model is loaded."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from runners.contracts import BatchShape, OutOfMemoryError, TokenSequence, TokenSequences

logger = logging.getLogger("service.engine")

CALL_COST_TOKENS = 32
"""Assumed fixed cost of a pass in tokens."""
SMALLEST_CALL_COST_TOKENS = 16
"""Smallest fixed cost: what the service itself does for each pass."""
LARGEST_MISFIT = 0.3
"""Root mean square of the relative errors from which measurements are too disturbed to be used."""

SMALLEST_BUDGET = 256
KNEE = 0.92
"""Stop enlarging passes once a smaller one reaches this share of the larger one's throughput."""
MIXED_BUDGET = 512
"""Up to this size, larger passes pay even without higher throughput on equal texts, because mixed lengths need less
padding: passages of 8 requests cost 1.20 of their tokens in passes of 256, 1.14 of 512, 1.12 of 1,024."""
SHORT_PASS_S = 0.2
"""But only if such a pass takes no longer than this."""
WIDEST_BUDGET = 2048
"""The same while no smaller request waits: on a Zen 5, 8 requests of 20 pairs ran 9 % faster in passes of 2,048 tokens
than of 512; on a Xeon with AMX, 512 passages took 9 % and 100 pairs 7 % less processor time."""
WIDE_PASS_S = 0.8
"""But only if such a pass takes no longer than this, or than SHORT_PASS_S if searches have no fast lane and wait for
it. On a Zen 1, passes of 1,024 or 2,048 tokens took 0.7 s, and 100 pairs and 512 passages 7 % less processor time than
in passes of 256."""
LONGEST_TRIAL_S = 0.5
TRIAL_TOKENS = 64
MIXED_TRIALS = ([8], [16] * 16, [128] * 2, [16] * 7 + [128], [256])
"""Lengths of the texts of further trials, so that calls, tokens and padding can be told apart."""
_TRIALS = 2


@dataclass(frozen=True)
class Costs:
    """Cost of a pass of B texts, the longest of T tokens: in seconds if measured, else in tokens."""

    call: float
    token: float
    """Of each token of the texts."""
    slot: float = 0.0
    """Of each of the B x T tokens, padding included."""
    attention: float = 0.0
    """Of each of the B x T x T pairs of tokens, padding included."""

    @classmethod
    def assumed(cls, padding_cost: float) -> Costs:
        """In tokens; a token of padding costs `padding_cost` (see contracts.Backend)."""
        return cls(CALL_COST_TOKENS, 1 - padding_cost, padding_cost)

    def of(self, size: BatchShape) -> float:
        """Cost of a pass."""
        return self.call + self.token * size.tokens + size.count * self.place(size.longest)

    def place(self, longest: int) -> float:
        """Cost of one more text in a pass, without that of its own tokens."""
        return longest * (self.slot + self.attention * longest)

    def times(self, factor: float) -> Costs:
        """The same in another unit."""
        return Costs(*(factor * cost for cost in astuple(self)))


class Trials:
    """Passes of arbitrary texts, timed. `text(n)` is one of n tokens, or fewer if the model takes no more.

    Passes with a `known` duration in seconds are not run.
    """

    def __init__(
        self,
        run: Callable[[TokenSequences], object],
        text: Callable[[int], TokenSequence],
        clock: Callable[[], float] = time.perf_counter,
        known: Mapping[BatchShape, float] | None = None,
    ) -> None:
        self.seconds: dict[BatchShape, float] = {}
        """Shape -> shortest duration."""
        self._known = known or {}
        self._run = run
        self._text = text
        self._clock = clock

    def time(self, lengths: Sequence[int]) -> float:
        """Seconds of one pass: the shorter of two, because the first may compile and allocate."""
        sequences = [self._text(length) for length in lengths]
        size = BatchShape.of([len(sequence) for sequence in sequences])
        if size in self._known:
            self.seconds[size] = self._known[size]
            return self._known[size]
        for _ in range(_TRIALS):
            started = self._clock()
            self._run(sequences)
            seconds = max(self._clock() - started, 1e-6)
            self.seconds[size] = min(self.seconds.get(size, seconds), seconds)
        return self.seconds[size]

    def tokens_per_s(self, budget: int) -> float:
        """Throughput of a pass of about `budget` tokens in texts of ordinary length."""
        length = len(self._text(TRIAL_TOKENS))
        count = max(1, budget // length)
        return count * length / self.time([length] * count)


def learn_budget(trials: Trials, most: int) -> int:
    """Measure the pass size in tokens (at most `most`) at which throughput stops growing.

    Doubles the size of passes of one repeated text; stops early if a pass takes long or exhausts the memory.
    """
    budget = min(SMALLEST_BUDGET, most)
    speed = trials.tokens_per_s(budget)
    while budget * 2 <= most and budget / speed < LONGEST_TRIAL_S:
        try:
            larger = trials.tokens_per_s(budget * 2)
        except OutOfMemoryError:
            break
        short = budget * 2 <= MIXED_BUDGET and budget * 2 / larger <= SHORT_PASS_S
        if speed >= KNEE * larger and not short:
            break
        budget, speed = budget * 2, larger
    return budget


def widest_budget(costs: Costs, budget: int, most: int, *, concurrent_passes: int, has_fast_lane: bool) -> int:
    """The pass size while no smaller request waits: doubles `budget` up to WIDEST_BUDGET while a pass is short enough.

    Not if several passes run at a time: a wide one would leave no texts for the others.
    """
    if concurrent_passes > 1:
        return budget
    wide, longest_s = budget, WIDE_PASS_S if has_fast_lane else SHORT_PASS_S
    while wide * 2 <= min(WIDEST_BUDGET, most):
        if costs.of(BatchShape.of([TRIAL_TOKENS] * (wide * 2 // TRIAL_TOKENS))) > longest_s:
            break
        wide *= 2
    return wide


def learn_costs(trials: Trials, padding_cost: float) -> Costs:
    """Time passes of mixed shapes, and fit the costs, in seconds, to all trials so far."""
    for lengths in MIXED_TRIALS:
        with contextlib.suppress(OutOfMemoryError):
            trials.time(lengths)
    return fit(trials.seconds, padding_cost)


def fit(seconds: Mapping[BatchShape, float], padding_cost: float) -> Costs:
    """The costs, none negative, that explain the measured durations with the smallest relative errors.

    If none do, or a device is too fast to be measured: the assumed ones, scaled to the largest pass.
    """
    sizes = list(seconds)
    # Padding is computed by all layers, by attention alone, or by none.
    used = [0] + [1] * (padding_cost < 1) + [2, 3] * (padding_cost > 0)
    features = np.array(
        [(1, size.tokens, size.count * size.longest, size.count * size.longest**2) for size in sizes], dtype=np.float64
    )
    measured = np.array([seconds[size] for size in sizes])
    misfit, best = min(
        (_least_squares(features / measured[:, None], chosen) for chosen in _subsets(used)), key=lambda found: found[0]
    )
    costs = Costs(*best.tolist())
    each = costs.token + costs.place(TRIAL_TOKENS) / TRIAL_TOKENS
    if misfit > LARGEST_MISFIT or each <= 0:
        logger.info("the trials of a model do not fit a model of costs (%.0f %% off)", 100 * misfit)
        assumed, largest = Costs.assumed(padding_cost), max(sizes, key=lambda size: size.tokens)
        return assumed.times(seconds[largest] / assumed.of(largest))
    return Costs(max(costs.call, SMALLEST_CALL_COST_TOKENS * each), costs.token, costs.slot, costs.attention)


def _subsets(features: Sequence[int]) -> list[list[int]]:
    return [list(chosen) for count in range(1, len(features) + 1) for chosen in combinations(features, count)]


def _least_squares(features: NDArray[np.float64], chosen: list[int]) -> tuple[float, NDArray[np.float64]]:
    """Root mean square error of predicting 1 from the chosen features, and their weights; inf if one is negative."""
    weights = np.zeros(features.shape[1])
    weights[chosen] = np.linalg.lstsq(features[:, chosen], np.ones(len(features)))[0]
    error = float(np.sqrt(np.mean((features @ weights - 1) ** 2)))
    return (error if (weights >= 0).all() else float("inf")), weights
