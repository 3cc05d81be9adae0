"""One simulated replica, compared with what queueing theory says."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest
import simpy

from benchmarks.fleet.fleet import simulate
from benchmarks.fleet.passes import learn_known
from benchmarks.fleet.processor import Processor
from benchmarks.fleet.traffic import Kind, Request, bulk, poisson, search
from runners.batching.costs import Costs
from tests.unit.benchmarks.fleet.replicas import PASS_S, TOKENS, constants, requests


def traffic(per_s: float, seconds: float, seed: int = 1) -> list[Request]:
    """Poisson arrivals of equal requests."""
    return poisson([Kind("search", per_s, lambda _: (TOKENS,))], seconds, seed)


def test_a_request_to_an_empty_system_waits_for_nothing() -> None:
    (answer,) = simulate(constants(request_s=0.02), requests([5.0]), replicas=1).answers
    assert answer.latency_s == pytest.approx(0.02 + PASS_S)
    assert answer.queue_s == pytest.approx(0)


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_passes_of_one_text_are_an_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: the mean time in the queue is load x service / (2 (1 - load))."""
    found = simulate(constants(), traffic(load / PASS_S, 1000), replicas=1)
    waited = mean(answer.queue_s for answer in found.answers)
    assert waited == pytest.approx(load * PASS_S / (2 * (1 - load)), rel=0.07)


def test_an_overloaded_replica_computes_full_passes() -> None:
    found = simulate(constants(texts=8), traffic(2 * 8 / PASS_S, 20), replicas=1)
    assert len(found.answers) / found.seconds == pytest.approx(8 / PASS_S, rel=0.02)


def test_replicas_share_an_overload() -> None:
    found = simulate(constants(texts=8), traffic(6 * 8 / PASS_S, 10), replicas=3)
    assert len(found.answers) / found.seconds == pytest.approx(3 * 8 / PASS_S, rel=0.02)


def test_one_event_loop_is_a_limit() -> None:
    found = simulate(constants(texts=1000, request_s=0.01), traffic(200, 10), replicas=1)
    assert len(found.answers) / found.seconds == pytest.approx(100, rel=0.03)


def test_a_full_queue_rejects() -> None:
    small = replace(constants(), max_queued_tokens=2 * TOKENS)
    found = simulate(small, requests([0.0, 0.01, 0.02, 0.03]), replicas=1)
    assert [answer.rejected for answer in sorted(found.answers, key=lambda answer: answer.request.arrives_s)] == [
        False,
        False,
        False,
        True,
    ]


def test_the_fast_lane_overtakes_a_large_pass() -> None:
    large = Request("bulk", 0.0, (TOKENS,) * 100)
    small = Request("search", 0.05, (TOKENS,))
    for fast_lane, expected_s in ((True, PASS_S), (False, 0.05 + PASS_S)):
        found = simulate(constants(texts=100, fast_lane=fast_lane), [large, small], replicas=1)
        assert found.percentile_s(0.5, "search") == pytest.approx(expected_s)


@pytest.mark.parametrize(("shared", "ends"), [(True, [8, 12]), (False, [6, 10])])
def test_passes_share_a_processor(shared: bool, ends: list[float]) -> None:
    """Passes of 10 seconds from 0 and of 2 seconds from 4."""
    env = simpy.Environment()
    processor = Processor(env, shared=shared)
    found: list[float] = []

    def run(at: float, seconds: float) -> simpy.events.ProcessGenerator:
        yield env.timeout(at)
        yield processor.run(seconds)
        found.append(env.now)

    env.process(run(0, 10))
    env.process(run(4, 2))
    env.run()
    assert found == ends
    assert processor.busy_s == ends[-1]


def test_a_seed_determines_the_outcome() -> None:
    kinds = [search(50), bulk(0.5)]
    one, two = (simulate(constants(texts=8), poisson(kinds, 10, seed=3), replicas=2).answers for _ in range(2))
    assert one == two
    assert poisson(kinds, 10, seed=4) != poisson(kinds, 10, seed=3)


def test_known_costs_are_learned_as_a_model_is() -> None:
    costs = Costs(0.02, 0.0, 0.00015)
    passes = learn_known(costs, 1.0, 4096, fast_lane=True)
    assert passes.costs.call == pytest.approx(costs.call)
    assert passes.costs.slot == pytest.approx(costs.slot)
    assert passes.short_pass_tokens == 1024  # 2,048 tokens: only 6 % faster, KNEE
    assert passes.max_batch_tokens == 2048
