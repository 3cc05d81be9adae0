"""Metrics of requests: many changes, written together.

prometheus_client writes each change of a value to the workers' files at once. A request makes a dozen, which took more
time than reading its body. Here they are added up, and written at the end of the event loop's turn: once for all
requests that end together. Not thread-safe: for the event loop's thread only.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram


class _EndOfTurn:
    """Makes calls, each once, when the event loop has run what is ready now; at once where no loop runs."""

    def __init__(self) -> None:
        self._calls: dict[Callable[[], None], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, call: Callable[[], None]) -> None:
        self._calls[call] = None
        loop = asyncio._get_running_loop()
        if loop is None:
            self._make_calls()
        elif loop is not self._loop:
            self._loop = loop
            loop.call_soon(self._make_calls)

    def _make_calls(self) -> None:
        calls, self._calls, self._loop = self._calls, {}, None
        for call in calls:
            call()


at_end_of_turn = _EndOfTurn()


class BatchedCounter(Counter):
    """A counter of requests."""

    _pending = 0.0

    def inc(self, amount: float = 1, exemplar: Any = None) -> None:  # noqa: ARG002  # as in prometheus_client
        """Add to the counter."""
        self._pending += amount
        at_end_of_turn(self._write)

    def _write(self) -> None:
        pending, self._pending = self._pending, 0.0
        super().inc(pending)


class BatchedGauge(Gauge):
    """A gauge of requests in progress."""

    _pending = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add to the gauge."""
        self._pending += amount
        at_end_of_turn(self._write)

    def dec(self, amount: float = 1) -> None:
        """Take from the gauge."""
        self.inc(-amount)

    def _write(self) -> None:
        pending, self._pending = self._pending, 0.0
        super().inc(pending)


class BatchedHistogram(Histogram):
    """A histogram of requests."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._pending: list[float] = []

    def observe(self, amount: float, exemplar: Any = None) -> None:  # noqa: ARG002  # as in prometheus_client
        """Count an amount."""
        self._pending.append(amount)
        at_end_of_turn(self._write)

    def _write(self) -> None:
        pending, self._pending = self._pending, []
        counts: dict[int, int] = {}
        for amount in pending:
            bucket = bisect_left(self._upper_bounds, amount)
            counts[bucket] = counts.get(bucket, 0) + 1
        self._sum.inc(sum(pending))
        for bucket, count in counts.items():
            self._buckets[bucket].inc(count)
