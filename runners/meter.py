"""What a model's batcher tells Prometheus, and how fast it is, from which waiting times are estimated."""

from __future__ import annotations

import metrics
from runners.jobs import Batch, Queue
from runners.planning import Extent

_MEMORY = 0.8
"""Share of the old estimate that a new measurement of the speed leaves."""


def extent(batch: Batch) -> Extent:
    """How large a batch is."""
    return Extent.of([len(job.sequences[index]) for job, index in batch])


class Meter:
    """The metrics of one model's batcher."""

    def __init__(self, name: str, padding_cost: float) -> None:
        self._name = name
        self._padding_cost = padding_cost
        self.tokens_per_s = 0.0
        """Of late, padding included; 0 before the first pass."""

    def queue(self, queue: Queue, tokens: int) -> None:
        """What waits."""
        metrics.QUEUE_TOKENS.labels(self._name).set(tokens)
        metrics.QUEUE_AGE_SECONDS.labels(self._name).set(queue.age_s())

    def batch(self, batch: Batch, seconds: float) -> None:
        """A pass that ended well; its jobs note its time."""
        size = extent(batch)
        computed = size.computed(self._padding_cost)
        for job in dict.fromkeys(job for job, _ in batch):
            job.compute_s += seconds
        metrics.BATCH_TEXTS.labels(self._name).observe(len(batch))
        metrics.BATCH_TOKENS.labels(self._name).observe(computed)
        metrics.COMPUTED_TEXTS.labels(self._name).inc(len(batch))
        metrics.COMPUTED_TOKENS.labels(self._name).inc(size.tokens)
        metrics.PADDING_TOKENS.labels(self._name).inc(computed - size.tokens)
        metrics.COMPUTE_SECONDS.labels(self._name).inc(seconds)
        speed = computed / max(seconds, 1e-6)
        self.tokens_per_s = _MEMORY * (self.tokens_per_s or speed) + (1 - _MEMORY) * speed
