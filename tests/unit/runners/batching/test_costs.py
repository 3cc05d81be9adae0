"""How large a pass pays, and what it costs: learned from a device that is only its speed, with its own clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import pytest

from runners.batching import costs
from runners.batching.costs import (
    LONGEST_TRIAL_S,
    MIXED_BUDGET,
    SHORT_PASS_S,
    SMALLEST_BUDGET,
    SMALLEST_CALL_COST_TOKENS,
    TRIAL_TOKENS,
    WIDE_PASS_S,
    WIDEST_BUDGET,
    Costs,
    Trials,
    learn_budget,
    learn_costs,
    widest_budget,
)
from runners.contracts import BatchShape, OutOfMemoryError, TokenSequence, TokenSequences

MOST = 16_384


def text(tokens: int) -> TokenSequence:
    return TokenSequence(list(range(tokens)))


class Device:
    """Takes `seconds(size)` for a pass; the clock stands still between passes."""

    def __init__(self, seconds: Callable[[BatchShape], float], *, room: int = 10**9) -> None:
        self.now = 0.0
        self.passes: list[int] = []
        self._seconds = seconds
        self._room = room

    def __call__(self, sequences: TokenSequences) -> None:
        size = BatchShape.of(list(map(len, sequences)))
        self.passes.append(size.tokens)
        if size.tokens > self._room:
            raise OutOfMemoryError
        self.now += self._seconds(size)


def by_tokens(seconds: Callable[[int], float], *, room: int = 10**9) -> Device:
    """A device for which only the number of tokens matters."""
    return Device(lambda size: seconds(size.tokens), room=room)


def tried(device: Device) -> Trials:
    return Trials(device, text, clock=lambda: device.now)


def learned(device: Device, most: int = MOST) -> int:
    return learn_budget(tried(device), most)


@pytest.mark.parametrize(
    ("speed", "budget"),
    [(100_000, MIXED_BUDGET), (MIXED_BUDGET / SHORT_PASS_S, MIXED_BUDGET), (0.99 * MIXED_BUDGET / SHORT_PASS_S, 256)],
)
def test_a_device_that_is_no_faster_with_more_gets_small_passes(speed: float, budget: int) -> None:
    """As small as texts of mixed lengths bear, and smaller where others would wait for one."""
    device = by_tokens(lambda tokens: tokens / speed)
    assert learned(device) == budget
    assert max(device.passes) == 2 * budget


def test_a_device_that_is_ever_faster_with_more_gets_all_that_is_allowed() -> None:
    assert learned(by_tokens(lambda _: 0.01)) == MOST


def test_no_pass_is_larger_than_allowed() -> None:
    device = by_tokens(lambda _: 0.01)
    assert learned(device, most=3000) == 2048
    assert max(device.passes) == 2048


@pytest.mark.parametrize("knee", [512, 1024, 4096])
def test_passes_end_where_throughput_ends_to_grow(knee: int) -> None:
    assert learned(by_tokens(lambda tokens: max(tokens, knee) / 100_000)) == knee


def test_a_little_more_throughput_is_not_worth_the_wait_of_others() -> None:
    # 256: 72 %, 512: 84 %, 1024: 91 %, 2048: 95 % of its best
    assert learned(by_tokens(lambda tokens: 0.001 + tokens / 100_000)) == 1024


def test_a_slow_device_is_not_measured_for_long() -> None:
    device = by_tokens(lambda tokens: tokens**0.5 / 20)  # ever faster with more, but 256 tokens take 0.8 s already
    assert learned(device) == SMALLEST_BUDGET
    assert set(device.passes) == {SMALLEST_BUDGET}


def test_trials_end_where_a_pass_takes_long() -> None:
    device = by_tokens(lambda tokens: tokens**0.5 / 100)
    budget = learned(device)
    assert budget**0.5 / 100 >= LONGEST_TRIAL_S > (budget / 2) ** 0.5 / 100
    assert max(device.passes) == budget < MOST


def test_a_first_pass_that_compiles_does_not_count() -> None:
    seen: set[int] = set()

    def seconds(tokens: int) -> float:
        first = tokens not in seen
        seen.add(tokens)
        return 0.01 + 0.4 * first

    assert learned(by_tokens(seconds)) == MOST


def test_passes_of_known_duration_are_not_run() -> None:
    device = by_tokens(lambda tokens: 0.01 + tokens / 1000)
    first = tried(device)
    found = learn_budget(first, MOST), learn_costs(first, 0.5)
    device.passes.clear()
    again = Trials(device, text, clock=lambda: device.now, known=first.seconds)
    assert (learn_budget(again, MOST), learn_costs(again, 0.5)) == found
    assert not device.passes


@pytest.mark.parametrize("most", [16, TRIAL_TOKENS, SMALLEST_BUDGET - 1])
def test_a_budget_below_the_smallest_is_kept_and_the_model_warmed_up(most: int) -> None:
    device = by_tokens(lambda _: 0.01)
    assert learned(device, most) == most
    assert device.passes
    assert max(device.passes) <= max(most, TRIAL_TOKENS)


def test_memory_ends_the_trials_and_not_the_load() -> None:
    assert learned(by_tokens(lambda _: 0.01, room=3000)) == 2048


def test_a_clock_that_stands_still_ends_too() -> None:
    assert SMALLEST_BUDGET <= learned(by_tokens(lambda _: 0.0)) <= MOST


def test_a_model_without_memory_for_the_smallest_pass_fails_to_load() -> None:
    with pytest.raises(OutOfMemoryError):
        learned(by_tokens(lambda _: 0.01, room=10))


# seconds of a pass: of a processor that computes padding in attention only, of one that pads, of a GPU that packs
MEASURED = (
    (0.15, Costs(0.003, 6e-5, 1e-5, 2e-7)),
    (0.15, Costs(0.003, 1e-4, 0.0, 5e-7)),
    (1.0, Costs(0.005, 0.0, 1e-5, 1e-8)),
    (0.0, Costs(0.006, 1e-6)),
)
SHAPES = ([12], [64] * 32, [30, 40, 200], [7] * 20 + [250], list(range(10, 200, 9)), [500] * 4)


@pytest.mark.parametrize(("padding_cost", "device_costs"), MEASURED)
def test_costs_are_those_of_the_device(padding_cost: float, device_costs: Costs) -> None:
    trials = tried(Device(device_costs.of))
    learn_budget(trials, MOST)
    assert astuple(learn_costs(trials, padding_cost)) == pytest.approx(astuple(device_costs), rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("padding_cost", "device_costs"), MEASURED)
def test_disturbed_trials_predict_other_shapes(padding_cost: float, device_costs: Costs, seed: int) -> None:
    """Up to a tenth longer than they should, at random: no cost is negative, and predictions stay close."""
    random = np.random.default_rng(seed)
    trials = tried(Device(lambda size: device_costs.of(size) * (1 + random.random() / 10)))
    learn_budget(trials, MOST)
    found = learn_costs(trials, padding_cost)
    assert min(astuple(found)) >= 0
    for lengths in SHAPES:
        size = BatchShape.of(lengths)
        assert found.of(size) == pytest.approx(device_costs.of(size), rel=0.35)


@pytest.mark.parametrize("padding_cost", [0.0, 0.15, 1.0])
def test_trials_that_make_no_sense_leave_the_assumed_costs(padding_cost: float) -> None:
    """Scaled to the largest pass, so that expected durations are not far off."""
    random = np.random.default_rng(0)
    trials = tried(Device(lambda _: 10 ** random.uniform(-4, 0)))
    learn_budget(trials, 1024)
    found, assumed = learn_costs(trials, padding_cost), Costs.assumed(padding_cost)
    largest = max(trials.seconds, key=lambda size: size.tokens)
    assert found.of(largest) == pytest.approx(trials.seconds[largest])
    assert found.call / found.of(largest) == pytest.approx(assumed.call / assumed.of(largest))


def test_a_clock_that_stands_still_leaves_the_assumed_costs() -> None:
    found = learn_costs(tried(by_tokens(lambda _: 0.0)), 0.15)
    assert found.token > 0
    assert found.call / found.token == pytest.approx(costs.CALL_COST_TOKENS / (1 - 0.15))


def test_a_call_never_costs_less_than_a_few_tokens() -> None:
    found = learn_costs(tried(by_tokens(lambda tokens: tokens / 1000)), 0.15)
    assert found.call == pytest.approx(SMALLEST_CALL_COST_TOKENS / 1000)


def test_texts_are_no_longer_than_the_model_takes() -> None:
    device = by_tokens(lambda tokens: 0.1 + tokens / 1000)
    trials = Trials(device, lambda tokens: text(min(tokens, 8)), clock=lambda: device.now)
    assert learn_costs(trials, 1.0).of(BatchShape.of([8, 8])) == pytest.approx(0.116)


@pytest.mark.parametrize(
    ("token_s", "most", "budget"),
    [(1e-5, MOST, WIDEST_BUDGET), (1e-5, 1024, 1024), (SHORT_PASS_S / 1500, MOST, 1024), (1.0, MOST, 512)],
)
def test_passes_are_wide_while_they_are_short(token_s: float, most: int, budget: int) -> None:
    assert wide(Costs(0.0, token_s), 512, most) == budget


@pytest.mark.parametrize(("token_s", "budget"), [(WIDE_PASS_S / 1500, 1024), (WIDE_PASS_S / 1000, 512)])
def test_passes_may_take_longer_if_searches_need_not_wait_for_them(token_s: float, budget: int) -> None:
    assert wide(Costs(0.0, token_s), 512, has_fast_lane=True) == budget


def test_a_learned_budget_is_never_reduced() -> None:
    assert wide(Costs(0.0, 1.0), 4096) == 4096


def test_concurrent_passes_are_not_wide() -> None:
    assert wide(Costs(0.0, 1e-5), 512, concurrent_passes=2) == 512


def wide(
    costs: Costs, budget: int, most: int = MOST, *, concurrent_passes: int = 1, has_fast_lane: bool = False
) -> int:
    return widest_budget(costs, budget, most, concurrent_passes=concurrent_passes, has_fast_lane=has_fast_lane)


def test_trials_without_memory_are_left_out() -> None:
    trials = tried(by_tokens(lambda tokens: 0.1 + tokens / 1000, room=250))
    assert learn_costs(trials, 0.0).of(BatchShape.of([100])) == pytest.approx(0.2)
