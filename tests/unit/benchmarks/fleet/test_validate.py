"""The comparison with real replicas, here with simulated ones in their place."""

from __future__ import annotations

import pytest

from benchmarks.fleet.fleet import Outcome, simulate
from benchmarks.fleet.report import validation
from benchmarks.fleet.traffic import poisson
from benchmarks.fleet.validate import REPLICAS, Comparison, compare, constants, kinds


def outcome(request_s: float) -> Outcome:
    return simulate(constants(request_s), poisson(kinds(0.5), 10, seed=1), replicas=REPLICAS)


def test_equal_replicas_agree() -> None:
    found = compare(0.5, outcome(0.002), outcome(0.002))
    assert len(found) == 9
    assert all(each.error == 0 and each.within for each in found)


def test_replicas_with_slower_requests_are_told_apart() -> None:
    found = compare(0.5, outcome(0.2), outcome(0.002))
    assert "search p50, ms" in {each.figure for each in found if not each.within}


@pytest.mark.parametrize(
    ("figure", "real", "simulated", "within"),
    [
        ("requests/s", 100, 114, True),
        ("requests/s", 100, 116, False),
        ("requests/s", 10, 12, False),
        ("search p50 in the queue, ms", 1, 20, True),
        ("search p50 in the queue, ms", 100, 131, False),
    ],
)
def test_what_counts_as_equal(figure: str, real: float, simulated: float, within: bool) -> None:
    assert Comparison(0.4, figure, real, simulated).within is within


def test_the_table_shows_both() -> None:
    text = validation([Comparison(0.4, "requests/s", 100, 110)])
    assert text.splitlines()[-1] == "| 0.4 | requests/s | 100.0 | 110.0 | +10.0% |"
