"""Load balancers, the autoscaler and the figures of many replicas."""

from __future__ import annotations

from collections import Counter

import pytest
import simpy

from benchmarks.fleet.autoscaling import Autoscaler, Scaling
from benchmarks.fleet.balancing import LeastConnections, LeastQueuedTokens, RoundRobin
from benchmarks.fleet.capacity import Point, held, replicas_for
from benchmarks.fleet.constants import Measured
from benchmarks.fleet.fleet import Fleet, simulate
from benchmarks.fleet.limits import bytes_per_request, limits
from benchmarks.fleet.traffic import bulk, search, steps
from tests.unit.benchmarks.fleet.replicas import PASS_S, TOKENS, constants, requests


def fleet(replicas: int, balancer: type[RoundRobin | LeastConnections | LeastQueuedTokens], load_s: float = 0) -> Fleet:
    env = simpy.Environment()
    return Fleet(env, constants(load_s=load_s), balancer(env), replicas)


def test_round_robin_ignores_load() -> None:
    one = fleet(3, RoundRobin)
    assert Counter(one.balancer.choose(one.ready) for _ in range(6)) == dict.fromkeys(one.ready, 2)


def test_least_connections_prefers_the_replica_that_answered() -> None:
    one = fleet(2, LeastConnections)
    chosen = [one.balancer.choose(one.ready) for _ in range(4)]
    one.balancer.answered(chosen[1])
    assert one.balancer.choose(one.ready) is chosen[1]


def test_queued_tokens_are_as_old_as_the_metric() -> None:
    one = fleet(2, LeastQueuedTokens)
    busy, idle = one.ready
    assert {one.balancer.choose(one.ready) for _ in range(2)} == {busy, idle}  # read at 0 s: both have no queue
    for request in requests([0.0] * 3):
        one.env.process(busy.serve(request, []))
    one.env.run(until=0.04)
    assert busy.queued_tokens == 2 * TOKENS
    assert {one.balancer.choose(one.ready) for _ in range(2)} == {busy, idle}
    one.env.run(until=0.06)
    assert {one.balancer.choose(one.ready) for _ in range(4)} == {idle}


def test_a_replica_serves_once_it_has_loaded() -> None:
    one = fleet(1, RoundRobin, load_s=30)
    one.resize(3)
    one.env.run(until=29)
    assert (one.size, len(one.ready)) == (3, 1)
    one.resize(2)  # one of those that load is not needed
    one.env.run(until=31)
    assert (one.size, len(one.ready)) == (2, 2)
    one.resize(1)
    assert (one.size, len(one.ready), len(one.all)) == (1, 1, 2)


def autoscaler(size: int) -> Autoscaler:
    """One that decides only when a test tells it to."""
    one = fleet(size, RoundRobin)
    return Autoscaler(one.env, one, Scaling(target=100, sync_s=1e9))


@pytest.mark.parametrize(
    ("size", "total", "wanted"),
    [(4, 800, 8), (4, 430, 4), (4, 450, 5), (4, 200, 2), (4, 0, 1), (4, 99_999, 100)],
    ids=["doubled", "tolerated", "above", "halved", "empty", "most"],
)
def test_the_formula_of_kubernetes(size: int, total: float, wanted: int) -> None:
    """desiredReplicas = ceil(currentReplicas x currentMetricValue / desiredMetricValue), 10 % tolerance."""
    one = autoscaler(size)
    one.sum = total
    assert one.wanted() == wanted


def test_replicas_are_added_after_the_stabilisation_and_removed_after_a_longer_one() -> None:
    one = autoscaler(2)
    env = one.fleet.env
    sizes = []
    for wanted in [2, 2, 8, 8, 8, 8] + [1] * 45:
        one.fleet.resize(one.stabilised(wanted))
        sizes.append(one.fleet.size)
        env.run(until=env.now + 15)
    assert sizes[:6] == [2, 2, 2, 6, 8, 8]  # at most twice as many, or four more, at a time
    assert sizes[6:].index(1) == 39  # 600 s after the last 8
    assert set(sizes[6:]) == {8, 1}


@pytest.mark.parametrize(
    "scaling", [Scaling(target=5 * TOKENS), Scaling(metric="busy share", target=0.7)], ids=lambda found: found.metric
)
def test_an_autoscaler_follows_the_load(scaling: Scaling) -> None:
    """Work of 0.5 replicas, of 3 replicas, then of 0.5."""
    kind = search(0.5 / PASS_S)
    requests = steps([(60, [kind]), (240, [kind.times(6)]), (700, [kind])], seed=2)
    found = simulate(constants(load_s=20), requests, replicas=1, scaling=scaling)
    assert max(size for _, size in found.sizes) >= 4
    assert found.sizes[-1][1] < 4


def test_replicas_for_a_rate() -> None:
    curves = {
        1: [Point(100, 0.05, 0), Point(200, 0.3, 0)],
        2: [Point(200, 0.04, 0), Point(300, 0.09, 0), Point(400, 0.3, 0)],
    }
    assert [replicas_for(rate, curves, 0.1) for rate in (50, 100, 250, 300, 301, 3000)] == [1, 1, 2, 2, 3, 20]
    assert replicas_for(1, curves, 0.01) is None


def test_bulk_requests_must_be_answered_as_well() -> None:
    assert held([Point(100, 0.05, 1.0), Point(200, 0.05, 60.0)], 0.1) == 100


def test_bytes_of_vectors() -> None:
    """1,024 float32 numbers are 4,096 bytes, and 5,462 in base64, which has 4 characters for 3 bytes."""
    measured = Measured.read()
    wider = bytes_per_request(measured, "base64", 1024) - bytes_per_request(measured, "base64", 384)
    assert wider == pytest.approx((1024 - 384) * 4 * 4 / 3)
    assert bytes_per_request(measured, "float", 384) == measured.bytes_of["float"]
    found = list(limits(measured, replica_per_s=500))
    assert [limit.each_per_s for limit in found] == sorted(limit.each_per_s for limit in found)
    assert found[0].needed == 2000


def test_bulk_texts_have_the_lengths_of_the_benchmark() -> None:
    import numpy as np

    lengths = bulk(1, 5000).lengths(np.random.default_rng(0))
    assert np.mean(lengths) == pytest.approx(66.5, rel=0.03)  # of benchmarks/workload.py, by MiniLM's tokenizer
