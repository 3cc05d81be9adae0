"""Percentiles, rates and medians of latencies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One successful request: start and end in seconds from the start of the window, and the number of items."""

    sent_s: float
    answered_s: float
    items: int

    @property
    def latency_s(self) -> float:
        """Time from the first sent byte to the last received byte."""
        return self.answered_s - self.sent_s


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that is not exceeded by at least `share` of all values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    return statistics.median(values)


def rate(calls: Iterable[Call], window_s: float) -> float:
    """Items per second within [0, window_s].

    A request that exceeds the window counts with the share of its time inside; otherwise rows with long requests would
    depend on the place of the window.
    """
    done = 0.0
    for call in calls:
        inside = min(call.answered_s, window_s) - max(call.sent_s, 0.0)
        if inside > 0:
            done += call.items * inside / call.latency_s
    return done / window_s


def summary(calls: Sequence[Call], window_s: float) -> dict[str, float]:
    """The figures of one group of connections: latencies of the requests sent in the window.

    If all connections waited for responses meanwhile, those of all requests.
    """
    latencies_ms = [call.latency_s * 1000 for call in calls if 0 <= call.sent_s < window_s]
    latencies_ms = latencies_ms or [call.latency_s * 1000 for call in calls]
    return {
        "p50_ms": percentile(latencies_ms, 0.50),
        "p99_ms": percentile(latencies_ms, 0.99),
        "requests": float(len(latencies_ms)),
        "items_per_s": rate(calls, window_s),
    }
