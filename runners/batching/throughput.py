"""Metrics of a model's batcher, and its measured throughput, from which waiting times are estimated."""

from __future__ import annotations

import metrics
from runners.batching.queue import Batch, Queue
from runners.contracts import BatchShape

_MEMORY = 0.8
"""Weight of a pass in the throughput, relative to the next one."""
_DOUBLE_COST_TOKENS = 1024
"""Text length at which a token costs twice as much as in a short text, because attention grows with the length. The
models here reach it at 2,300 tokens or more; this smaller value makes expected times longer."""


def batch_shape(batch: Batch) -> BatchShape:
    """The size of a batch."""
    return BatchShape.of([len(job.sequences[index]) for job, index in batch])


class Throughput:
    """The metrics of one model's batcher."""

    def __init__(self, name: str, padding_cost: float, tokens_per_s: float = 0.0) -> None:
        self._name = name
        self._padding_cost = padding_cost
        self._tokens, self._seconds = tokens_per_s, 1.0 if tokens_per_s else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Recent throughput, padding included; 0 if nothing was measured yet."""
        return self._tokens / max(self._seconds, 1e-6) if self._tokens else 0.0

    def expected_s(self, size: BatchShape) -> float:
        """Expected duration of a pass; 0 if the throughput is unknown."""
        if not self.tokens_per_s:
            return 0.0
        return size.computed(self._padding_cost) / self.tokens_per_s * (1 + size.longest / _DOUBLE_COST_TOKENS)

    def queue(self, queue: Queue, tokens: int) -> None:
        """Report the queue."""
        metrics.QUEUE_TOKENS.labels(self._name).set(tokens)
        metrics.QUEUE_AGE_SECONDS.labels(self._name).set(queue.age_s())

    def computed(self, batch: Batch) -> float:
        """Number of tokens that a pass computes, padding included."""
        return batch_shape(batch).computed(self._padding_cost)

    def batch(self, batch: Batch, seconds: float) -> float:
        """Record a pass that succeeded, also in its jobs. Returns the tokens that it computed, padding included."""
        size = batch_shape(batch)
        computed = size.computed(self._padding_cost)
        for job in dict.fromkeys(job for job, _ in batch):
            job.compute_s += seconds
        metrics.BATCH_TEXTS.labels(self._name).observe(len(batch))
        metrics.BATCH_TOKENS.labels(self._name).observe(computed)
        metrics.COMPUTED_TEXTS.labels(self._name).inc(len(batch))
        metrics.COMPUTED_TOKENS.labels(self._name).inc(size.tokens)
        metrics.PADDING_TOKENS.labels(self._name).inc(computed - size.tokens)
        metrics.COMPUTE_SECONDS.labels(self._name).inc(seconds)
        self._tokens = _MEMORY * self._tokens + computed
        self._seconds = _MEMORY * self._seconds + seconds
        return computed
