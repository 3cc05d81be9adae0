"""What a model's batcher tells Prometheus, and how fast it is, from which waiting times are estimated."""

from __future__ import annotations

import metrics
from runners.batching.planning import Extent
from runners.batching.queue import Batch, Queue

_MEMORY = 0.8
"""Weight of each pass in the speed, beside that of the next one."""
_DOUBLE_COST_TOKENS = 1024
"""Length of a text whose tokens cost twice as much as a short one's, as attention grows with the length. Of the models
served, it is 2,300 tokens and more; the smaller number makes expected times longer."""


def extent(batch: Batch) -> Extent:
    """How large a batch is."""
    return Extent.of([len(job.sequences[index]) for job, index in batch])


class Throughput:
    """The metrics of one model's batcher."""

    def __init__(self, name: str, padding_cost: float, tokens_per_s: float = 0.0) -> None:
        self._name = name
        self._padding_cost = padding_cost
        self._tokens, self._seconds = tokens_per_s, 1.0 if tokens_per_s else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Of late, padding included; 0 before the first pass where it was not measured at load."""
        return self._tokens / max(self._seconds, 1e-6) if self._tokens else 0.0

    def expected_s(self, size: Extent) -> float:
        """How long a pass should take; 0 where the speed is not known."""
        if not self.tokens_per_s:
            return 0.0
        return size.computed(self._padding_cost) / self.tokens_per_s * (1 + size.longest / _DOUBLE_COST_TOKENS)

    def queue(self, queue: Queue, tokens: int) -> None:
        """What waits."""
        metrics.QUEUE_TOKENS.labels(self._name).set(tokens)
        metrics.QUEUE_AGE_SECONDS.labels(self._name).set(queue.age_s())

    def computed(self, batch: Batch) -> float:
        """Tokens that a pass computes, padding included."""
        return extent(batch).computed(self._padding_cost)

    def batch(self, batch: Batch, seconds: float) -> float:
        """A pass that ended well; its jobs note its time. Tokens that it computed, padding included."""
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
        self._tokens = _MEMORY * self._tokens + computed
        self._seconds = _MEMORY * self._seconds + seconds
        return computed
