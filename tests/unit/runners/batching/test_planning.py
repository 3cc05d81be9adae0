"""How large a pass pays: learned from a device that is nothing but its speed, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from runners.batching import planning
from runners.batching.planning import (
    CALL_COST_TOKENS,
    LONGEST_TRIAL_S,
    MIXED_BUDGET,
    SHORT_PASS_S,
    SMALLEST_BUDGET,
    TRIAL_TOKENS,
    learn_budget,
    learn_call_cost,
)
from runners.contracts import OutOfMemoryError, TokenSequence, TokenSequences

TEXT = TokenSequence(list(range(TRIAL_TOKENS)))
MOST = 16_384


class Device:
    """Takes `seconds(tokens)` for a pass; the clock stands still between passes."""

    def __init__(self, seconds: Callable[[int], float], *, room: int = 10**9) -> None:
        self.now = 0.0
        self.passes: list[int] = []
        self._seconds = seconds
        self._room = room

    def __call__(self, sequences: TokenSequences) -> None:
        tokens = sum(map(len, sequences))
        self.passes.append(tokens)
        if tokens > self._room:
            raise OutOfMemoryError
        self.now += self._seconds(tokens)


def learned(monkeypatch: pytest.MonkeyPatch, device: Device, most: int = MOST) -> int:
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: device.now))
    return learn_budget(device, TEXT, most)[0]


@pytest.mark.parametrize(
    ("speed", "budget"),
    [(100_000, MIXED_BUDGET), (MIXED_BUDGET / SHORT_PASS_S, MIXED_BUDGET), (0.99 * MIXED_BUDGET / SHORT_PASS_S, 256)],
)
def test_a_device_that_is_no_faster_with_more_gets_small_passes(
    monkeypatch: pytest.MonkeyPatch, speed: float, budget: int
) -> None:
    """As small as texts of mixed lengths bear, and smaller where others would wait for one."""
    device = Device(lambda tokens: tokens / speed)
    assert learned(monkeypatch, device) == budget
    assert max(device.passes) == 2 * budget


def test_a_device_that_is_ever_faster_with_more_gets_all_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert learned(monkeypatch, Device(lambda _: 0.01)) == MOST


def test_no_pass_is_larger_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda _: 0.01)
    assert learned(monkeypatch, device, most=3000) == 2048
    assert max(device.passes) == 2048


@pytest.mark.parametrize("knee", [512, 1024, 4096])
def test_passes_end_where_throughput_ends_to_grow(monkeypatch: pytest.MonkeyPatch, knee: int) -> None:
    assert learned(monkeypatch, Device(lambda tokens: max(tokens, knee) / 100_000)) == knee


def test_a_little_more_throughput_is_not_worth_the_wait_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: 0.001 + tokens / 100_000)  # 256: 72 %, 512: 84 %, 1024: 91 %, 2048: 95 % of its best
    assert learned(monkeypatch, device) == 1024


def test_a_slow_device_is_not_measured_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: tokens**0.5 / 20)  # ever faster with more, but 256 tokens take 0.8 s already
    assert learned(monkeypatch, device) == SMALLEST_BUDGET
    assert set(device.passes) == {SMALLEST_BUDGET}


def test_trials_end_where_a_pass_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: tokens**0.5 / 100)
    budget = learned(monkeypatch, device)
    assert budget**0.5 / 100 >= LONGEST_TRIAL_S > (budget / 2) ** 0.5 / 100
    assert max(device.passes) == budget < MOST


def test_a_first_pass_that_compiles_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()

    def seconds(tokens: int) -> float:
        first = tokens not in seen
        seen.add(tokens)
        return 0.01 + 0.4 * first

    assert learned(monkeypatch, Device(seconds)) == MOST


@pytest.mark.parametrize("most", [16, TRIAL_TOKENS, SMALLEST_BUDGET - 1])
def test_a_budget_below_the_smallest_is_kept_and_the_model_warmed_up(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    device = Device(lambda _: 0.01)
    assert learned(monkeypatch, device, most) == most
    assert device.passes
    assert max(device.passes) <= max(most, TRIAL_TOKENS)


def test_the_speed_is_that_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """From it the watchdog knows how long a pass may take before the first request was served."""
    device = Device(lambda tokens: 0.01 + tokens / 100_000)
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: device.now))
    budget, tokens_per_s = learn_budget(device, TEXT, MOST)
    assert tokens_per_s == pytest.approx(budget / (0.01 + budget / 100_000))


def test_memory_ends_the_trials_and_not_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    assert learned(monkeypatch, Device(lambda _: 0.01, room=3000)) == 2048


def test_a_clock_that_stands_still_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SMALLEST_BUDGET <= learned(monkeypatch, Device(lambda _: 0.0)) <= MOST


def test_a_model_without_memory_for_the_smallest_pass_fails_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutOfMemoryError):
        learned(monkeypatch, Device(lambda _: 0.01, room=10))


def test_a_call_costs_what_the_device_computes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: 0.005 + tokens / 1_000_000)
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: device.now))
    budget = 8192
    speed = budget / (0.005 + budget / 1_000_000)
    assert learn_call_cost(device, TEXT, budget) == round((0.005 + 64 / 1_000_000) * speed) - 64  # about 3,000 tokens


def test_a_call_never_costs_less_than_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lambda tokens: tokens / 1_000_000)
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: device.now))
    assert learn_call_cost(device, TEXT, 1024) == CALL_COST_TOKENS
