"""Percentiles and rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics import Call, percentile, rate, summary

LATENCIES = st.lists(st.floats(0.001, 100), min_size=1, max_size=50)


@given(LATENCIES, st.floats(0.01, 1.0))
def test_percentile_is_numpys_nearest_rank(values: list[float], share: float) -> None:
    assert percentile(values, share) == np.percentile(values, 100 * share, method="inverted_cdf")


def test_rate_counts_what_lies_inside_the_window() -> None:
    before, third, inside, half, after = Call(-2, 0, 10), Call(-2, 1, 9), Call(0, 1, 10), Call(1, 3, 10), Call(2, 4, 10)
    assert rate([before, third, inside, half, after], 2.0) == pytest.approx((3 + 10 + 5) / 2)


@pytest.mark.parametrize("window_s", [1.0, 1.5, 2.9, 7.0])
def test_rate_does_not_depend_on_where_the_window_ends(window_s: float) -> None:
    steady = [Call(0.7 * number, 0.7 * (number + 1), 512) for number in range(20)]
    assert rate(steady, window_s) == pytest.approx(512 / 0.7)


def test_summary_is_in_milliseconds() -> None:
    figures = summary([Call(-0.9, 0.0, 2), Call(0, 0.1, 2), Call(0.1, 0.4, 2), Call(0.4, 0.9, 2)], 0.4)
    assert figures["p50_ms"] == pytest.approx(100)
    assert figures["p99_ms"] == pytest.approx(300)
    assert figures["items_per_s"] == pytest.approx(10)


def test_summary_of_requests_that_last_longer_than_the_window() -> None:
    figures = summary([Call(-1, 3, 8)], 2.0)
    assert (figures["p50_ms"], figures["items_per_s"]) == (4000, 2)
