"""A model's network on this process's device: its backend, and the batcher in front of it."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Protocol

import numpy as np

from errors import InternalError, ModelUnavailableError, ServiceError
from runners.batching.batcher import AdaptiveBatcher
from runners.batching.options import BatchingOptions
from runners.batching.passes import OUT_OF_MEMORY_RETRY_S
from runners.batching.queue import Clock, Job
from runners.contracts import Backend, Forward, OutOfMemoryError, Results, Timings, TokenSequences, only_dense

logger = logging.getLogger("service.engine")


class Computes(Protocol):
    """A loaded network that computes the sequences of requests: in this process, or in the engine process."""

    async def run(self, sequences: TokenSequences, priority: int = 0, timings: Timings | None = None) -> Results:
        """N sequences -> N results, in order. Adds the time in the queue and in forward passes to `timings`."""
        ...

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error`."""
        ...

    def close(self) -> None:
        """Free the memory."""
        ...


class Compute:
    """Batches sequences across requests, and runs forward passes."""

    def __init__(self, backend: Backend, options: BatchingOptions, *, clock: Clock = time.monotonic) -> None:
        self.backend = backend
        self.max_batch_tokens = options.max_batch_tokens
        self._name = options.name
        second = backend.second_forward
        self._batcher = AdaptiveBatcher(
            self.run_now,
            options,
            second_run=None if second is None else partial(self._pass, second),
            clock=clock,
        )

    @property
    def queued_tokens(self) -> int:
        """Number of tokens in the queue."""
        return self._batcher.queued_tokens

    async def run(self, sequences: TokenSequences, priority: int = 0, timings: Timings | None = None) -> Results:
        """N sequences -> N results, in order. Adds the time in the queue and in forward passes to `timings`."""
        return await self._batcher.submit(sequences, priority, timings)

    def start(self, sequences: TokenSequences, priority: int = 0) -> Job:
        """The same for callbacks of the job's `future`. If that is cancelled, the caller must abandon the job."""
        return self._batcher.start(sequences, priority)

    def abandon(self, job: Job) -> None:
        """Drop the sequences of a job that wait."""
        self._batcher.abandon(job)

    def run_now(self, sequences: TokenSequences) -> Results:
        """The same in one pass on the calling thread, for warm-up and checks at load."""
        return self._pass(self.backend.forward, sequences)

    def _pass(self, forward: Forward, sequences: TokenSequences) -> Results:
        """One pass, by `forward` if only dense vectors are wanted; a second copy of the network computes no others."""
        results = forward(sequences) if only_dense(sequences) else self.backend.outputs(sequences)
        if _finite(results):
            return results
        logger.warning("%s produced NaN or infinity; computing again in float32", self._name)
        try:
            results = compute_exact(self.backend, sequences)
        except OutOfMemoryError:  # not a sign that ordinary passes are too large: they need no float32 copy
            raise ModelUnavailableError(
                f"{self._name} produced NaN or infinity for this input, and there is no memory to compute it in "
                "float32. Try again later.",
                retry_after_s=OUT_OF_MEMORY_RETRY_S,
            ) from None
        if _finite(results):
            return results
        raise InternalError(f"{self._name} produced NaN or infinity for this input, even in float32.")

    def report_queue(self) -> None:
        """Update the queue's metrics, even while a pass is stuck."""
        self._batcher.report_queue()

    @property
    def stalled_s(self) -> float:
        """Seconds since the current pass started."""
        return self._batcher.stalled_s

    def overdue(self, at_least_s: float) -> bool:
        """Whether the current pass is stuck: it exceeds `at_least_s` and the time expected for its size."""
        return self._batcher.overdue(at_least_s)

    @property
    def lost(self) -> bool:
        """Whether the device no longer works."""
        return self._batcher.lost

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error` and abandon a stuck pass."""
        self._batcher.abort(error)

    def close(self) -> None:
        """Stop the threads and free the memory. Blocks until the current batch is done."""
        self._batcher.close()
        self.backend.close()


def compute_pass(backend: Backend, sequences: TokenSequences) -> Results:
    """One pass that computes what the sequences want."""
    return backend.forward(sequences) if only_dense(sequences) else backend.outputs(sequences)


def compute_exact(backend: Backend, sequences: TokenSequences) -> Results:
    """The same in float32."""
    return backend.forward_exact(sequences) if only_dense(sequences) else backend.outputs(sequences, exact=True)


def _finite(results: Results) -> bool:
    if isinstance(results, list):
        return all(each.finite for each in results)
    return bool(np.isfinite(results).all())
