"""From latencies to figures: percentiles, rates, medians."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One answered request: when it was sent and answered, in seconds from the start, and how many items it held."""

    sent_s: float
    answered_s: float
    items: int

    @property
    def latency_s(self) -> float:
        """From the first byte out to the last byte in."""
        return self.answered_s - self.sent_s


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least `share` of all values do not exceed."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    return statistics.median(values)


def rate(calls: Iterable[Call], window_s: float) -> float:
    """Items a second within [0, window_s].

    A request that is still running when the window closes counts by the share of its time that lies inside:
    otherwise a row of requests that take seconds would depend on where the window happens to end.
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
