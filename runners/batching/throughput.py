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
        self._queue_tokens = metrics.QUEUE_TOKENS.labels(name)  # looked up once: it takes as long as a change
        self._queue_age = metrics.QUEUE_AGE_SECONDS.labels(name)
        self._batch_texts = metrics.BATCH_TEXTS.labels(name)
        self._batch_tokens = metrics.BATCH_TOKENS.labels(name)
        self._computed_texts = metrics.COMPUTED_TEXTS.labels(name)
        self._computed_tokens = metrics.COMPUTED_TOKENS.labels(name)
        self._padding_tokens = metrics.PADDING_TOKENS.labels(name)
        self._compute_seconds = metrics.COMPUTE_SECONDS.labels(name)
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
        self._queue_tokens.set(tokens)
        self._queue_age.set(queue.age_s())

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
        self._tokens = _MEMORY * self._tokens + computed
        self._seconds = _MEMORY * self._seconds + seconds
        return computed
