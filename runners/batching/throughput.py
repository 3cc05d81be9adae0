"""Metrics of a model's batcher, and how far its passes differ from their expected duration."""

from __future__ import annotations

from prometheus_client import Gauge

import metrics
from runners.batching.costs import Costs
from runners.batching.queue import Batch, Queue
from runners.contracts import BatchShape

_MEMORY = 0.8
"""Weight of a pass in the recent durations, relative to the next one."""
_ORDINARY_PASS = BatchShape.of([64] * 8)
_DOUBLE_COST_TOKENS = 1024
"""Text length at which a token costs twice as much as in a short text, because attention grows with the length. The
models here reach it at 2,300 tokens or more; this smaller value makes expected times longer."""


def batch_shape(batch: Batch) -> BatchShape:
    """The size of a batch."""
    return BatchShape.of([job.lengths[index] for job, index in batch])


class _Share:
    """One model's part of a gauge without labels."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._value = 0

    def set(self, value: int) -> None:
        if value != self._value:
            self._gauge.inc(value - self._value)
            self._value = value


class Throughput:
    """The metrics of one model's batcher."""

    def __init__(self, name: str, padding_cost: float, measured: Costs | None = None) -> None:
        self.costs = measured or Costs.assumed(padding_cost)
        self._queue_tokens = metrics.QUEUE_TOKENS.labels(name)  # looked up once: it takes as long as a change
        self._queue_age = metrics.QUEUE_AGE_SECONDS.labels(name)
        self._waiting = _Share(metrics.REQUESTS_WAITING)
        self._running = _Share(metrics.REQUESTS_RUNNING)
        self._batch_texts = metrics.BATCH_TEXTS.labels(name)
        self._batch_tokens = metrics.BATCH_TOKENS.labels(name)
        self._computed_texts = metrics.COMPUTED_TEXTS.labels(name)
        self._computed_tokens = metrics.COMPUTED_TOKENS.labels(name)
        self._padding_tokens = metrics.PADDING_TOKENS.labels(name)
        self._compute_seconds = metrics.COMPUTE_SECONDS.labels(name)
        self._predicted_seconds = metrics.PREDICTED_COMPUTE_SECONDS.labels(name) if measured else None
        self._padding_cost = padding_cost
        self._tokens = self._cost = self._seconds = 0.0  # of recent passes
        if measured is not None:
            self._tokens = _ORDINARY_PASS.tokens
            self._cost = self._seconds = measured.of(_ORDINARY_PASS)

    @property
    def token_s(self) -> float:
        """Recent seconds per token, padding included; 0 if nothing was measured yet."""
        return self._seconds / self._tokens if self._tokens else 0.0

    def expected_s(self, size: BatchShape) -> float:
        """Expected duration of a pass, at the speed of recent ones; 0 if the speed is unknown."""
        slowness = self._seconds / self._cost if self._cost else 0.0
        return slowness * self.costs.of(size) * (1 + size.longest / _DOUBLE_COST_TOKENS)

    def queue(self, queue: Queue, running: int) -> None:
        """Report the queue, and the number of running requests."""
        self._queue_tokens.set(queue.tokens)
        self._queue_age.set(queue.age_s())
        self._waiting.set(len(queue))
        self._running.set(running)

    def computed(self, batch: Batch) -> float:
        """Number of tokens that a pass computes, padding included."""
        return batch_shape(batch).computed(self._padding_cost)

    def batch(self, batch: Batch, seconds: float) -> float:
        """Record a pass that succeeded, also in its jobs. Returns the tokens that it computed, padding included."""
        size = batch_shape(batch)
        computed = size.computed(self._padding_cost)
        for job in dict.fromkeys(job for job, _ in batch):
            job.compute_s += seconds
        self._batch_texts.observe(len(batch))
        self._batch_tokens.observe(computed)
        self._computed_texts.inc(len(batch))
        self._computed_tokens.inc(size.tokens)
        self._padding_tokens.inc(computed - size.tokens)
        self._compute_seconds.inc(seconds)
        cost = self.costs.of(size)
        if self._predicted_seconds is not None:
            self._predicted_seconds.inc(cost)
        self._tokens = _MEMORY * self._tokens + computed
        self._cost = _MEMORY * self._cost + cost
        self._seconds = _MEMORY * self._seconds + seconds
        return computed
