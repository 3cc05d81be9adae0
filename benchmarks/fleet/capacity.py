"""How many replicas hold R requests/s at p99 P: simulated for a few replicas, computed for many."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from benchmarks.fleet.constants import Constants
from benchmarks.fleet.fleet import simulate
from benchmarks.fleet.traffic import Kind, Request, bulk, poisson, search

REQUESTS = 8_000
"""Requests of a simulation: p99 is the 80th highest latency."""
SIZES = (1, 2, 4, 8)
"""Simulated numbers of replicas."""
SHARES = tuple(0.05 * step for step in range(2, 20))
"""Simulated rates, as shares of what the replicas compute when they never wait for requests."""
SEED = 5

Mix = Callable[[float], Sequence[Kind]]
"""The traffic at a number of requests per second."""

MIXES: Mapping[str, Mix] = {
    "searches": lambda per_s: [search(per_s)],
    "searches and bulk": lambda per_s: [search(0.99 * per_s), bulk(0.01 * per_s)],
}
"""In the second one, one request in 100 has 64 passages, which are three quarters of all tokens."""


SLOWEST_BULK_S = 5.0
"""If p99 of bulk requests is above this, the replicas do not hold a rate: the batcher lets searches overtake them."""


@dataclass(frozen=True)
class Point:
    """p99 at a rate."""

    per_s: float
    search_s: float
    bulk_s: float
    """0 if there is no bulk traffic."""

    def within(self, limit_s: float) -> bool:
        """Whether search queries, and bulk requests, are fast enough."""
        return self.search_s <= limit_s and self.bulk_s <= SLOWEST_BULK_S


def throughput(constants: Constants, mix: Mix) -> float:
    """Requests/s of a replica that always has work."""
    requests = [Request(each.kind, 0.0, each.lengths) for each in poisson(mix(REQUESTS / 4), 1.0, SEED)]
    return len(requests) / simulate(constants, requests, replicas=1).seconds


def curve(constants: Constants, mix: Mix, replicas: int) -> list[Point]:
    """p99 by rate."""
    most = replicas * throughput(constants, mix)
    return [point(constants, mix, share * most, replicas) for share in SHARES]


def point(constants: Constants, mix: Mix, per_s: float, replicas: int, balancer: str = "least connections") -> Point:
    """p99 at one rate."""
    kinds = mix(per_s)
    requests = poisson(kinds, REQUESTS / per_s, SEED)
    outcome = simulate(constants, requests, replicas=replicas, balancer=balancer)
    has_bulk = any(kind.name == "bulk" for kind in kinds)
    return Point(per_s, outcome.percentile_s(0.99, "search"), outcome.percentile_s(0.99, "bulk") if has_bulk else 0.0)


def held(points: Sequence[Point], limit_s: float) -> float:
    """The highest rate up to which p99 is within a limit; 0 if there is none."""
    return max((point.per_s for point in takewhile(lambda point: point.within(limit_s), points)), default=0.0)


def replicas_for(per_s: float, curves: Mapping[int, Sequence[Point]], limit_s: float) -> int | None:
    """The number of replicas that hold a rate; None if none does, because already an idle one is too slow.

    In a larger fleet, each replica holds at least as much as in a smaller one.
    """
    rates = {size: held(points, limit_s) for size, points in curves.items()}
    found = [max(size, math.ceil(per_s * size / rate)) for size, rate in rates.items() if rate]
    return min(found, default=None)
