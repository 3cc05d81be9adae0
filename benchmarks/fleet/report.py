"""The tables of the simulation, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.fleet import capacity, thresholds
from benchmarks.fleet.balancing import BALANCERS
from benchmarks.fleet.capacity import MIXES, SIZES, Point
from benchmarks.fleet.constants import Constants, Measured
from benchmarks.fleet.limits import limits
from benchmarks.fleet.validate import Comparison

LIMITS_S = (0.05, 0.1, 0.25)
RATES = (100, 1_000, 10_000, 100_000, 1_000_000)
BALANCED, BALANCED_SHARE = 8, 0.7
"""Replicas of the comparison of load balancers, and their load."""

Cells = Sequence[object]


def table(heads: Cells, rows: Sequence[Cells]) -> str:
    """A table in Markdown; all columns but the first are aligned to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def tables(measured: Measured) -> Iterator[str]:
    """All tables, each as soon as it is computed."""
    constants = measured.replica
    at_once = 0.0
    for name, mix in MIXES.items():
        curves = {size: capacity.curve(constants, mix, size) for size in SIZES}
        yield f"Requests/s that replicas hold: {name}\n\n" + _held(curves)
        yield f"Replicas that hold R requests/s: {name}\n\n" + _needed(curves)
        at_once = at_once or capacity.held(curves[SIZES[-1]], LIMITS_S[1]) / SIZES[-1]
    yield f"Load balancers: {BALANCED} replicas at {BALANCED_SHARE:.0%} load, with bulk\n\n" + _balancers(constants)
    yield "Autoscaler: p99 of searches, p99 of bulk, replicas at the end\n\n" + _thresholds(constants)
    yield "A million search queries per second\n\n" + _limits(measured, at_once)


def validation(found: Sequence[Comparison]) -> str:
    """Real and simulated figures."""
    rows = [
        [each.load, each.figure, f"{each.real:.1f}", f"{each.simulated:.1f}", f"{each.error:+.1%}"] for each in found
    ]
    return table(["load", "figure", "three services", "simulated", "error"], rows)


def _heads() -> list[str]:
    return [f"p99 {1000 * limit:.0f} ms" for limit in LIMITS_S]


def _held(curves: dict[int, list[Point]]) -> str:
    rows = [[size, *(_count(capacity.held(points, limit)) for limit in LIMITS_S)] for size, points in curves.items()]
    return table(["replicas", *_heads()], rows)


def _needed(curves: dict[int, list[Point]]) -> str:
    rows = [
        [f"{rate:,}", *(_count(capacity.replicas_for(rate, curves, limit) or 0) for limit in LIMITS_S)]
        for rate in RATES
    ]
    return table(["requests/s", *_heads()], rows)


def _balancers(constants: Constants) -> str:
    mix = MIXES["searches and bulk"]
    per_s = BALANCED_SHARE * BALANCED * capacity.throughput(constants, mix)
    points = {name: capacity.point(constants, mix, per_s, BALANCED, name) for name in BALANCERS}
    rows = [[name, f"{1000 * found.search_s:.0f} ms", f"{found.bulk_s:.2f} s"] for name, found in points.items()]
    return table(["load balancer", "p99 of searches", "p99 of bulk"], rows)


def _thresholds(constants: Constants) -> str:
    speed = thresholds.tokens_per_s(constants)
    rows = []
    for scaling in thresholds.scalings(constants):
        target = f"{scaling.target:.0%} busy"
        if scaling.metric == "queued tokens":
            target = f"{scaling.target:,.0f} queued tokens ({scaling.target / speed:g} s)"
        found = [thresholds.row(constants, scaling, load_s) for load_s in thresholds.LOADS_S]
        rows.append([target, *(f"{each.search_s:.2f} s, {each.bulk_s:.0f} s, {each.replicas}" for each in found)])
    return table(["target", *(f"new replica after {load_s:.0f} s" for load_s in thresholds.LOADS_S)], rows)


def _limits(measured: Measured, replica_per_s: float) -> str:
    rows = [[each.part, _count(each.each_per_s), _count(each.needed)] for each in limits(measured, replica_per_s)]
    return table(["part", "requests/s of one", "needed for 1,000,000/s"], rows)


def _count(number: float) -> str:
    """Rounded to two digits; a dash instead of 0."""
    if not number:
        return "–"
    digits = max(0, len(str(int(number))) - 2)
    return f"{round(number, -digits):,.0f}"
