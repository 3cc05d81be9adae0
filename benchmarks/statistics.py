"""Percentiles, rates and medians of latencies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One successful request: start and end in seconds from the start of the load, and the number of items."""

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
    depend on the end of the window.
    """
    done = 0.0
    for call in calls:
        inside = min(call.answered_s, window_s) - call.sent_s
        if inside > 0:
            done += call.items * min(1.0, inside / call.latency_s) if call.latency_s else call.items
    return done / window_s


def summary(calls: Sequence[Call], window_s: float) -> dict[str, float]:
    """The figures of one group of connections."""
    latencies_ms = [call.latency_s * 1000 for call in calls]
    return {
        "p50_ms": percentile(latencies_ms, 0.50),
        "p99_ms": percentile(latencies_ms, 0.99),
        "requests": float(len(calls)),
        "items_per_s": rate(calls, window_s),
    }
