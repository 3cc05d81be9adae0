"""Run batches on a lane: reserve memory, run the pass, give each job its rows, handle failures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from errors import ModelUnavailableError
from runners.batching.batch_budget import BatchBudget
from runners.batching.health import Health
from runners.batching.lane_threads import LaneThread
from runners.batching.options import BatchingOptions
from runners.batching.queue import Batch, Clock, finish
from runners.batching.throughput import Throughput, batch_shape
from runners.contracts import OutOfMemoryError, Results

logger = logging.getLogger("service.engine")

OUT_OF_MEMORY_RETRY_S = 5


class Passes:
    """The forward passes of one model. `lock` guards what its lanes share; `fail` fails the jobs of a batch."""

    def __init__(
        self,
        options: BatchingOptions,
        fail: Callable[[Batch, Exception], None],
        *,
        throughput: Throughput,
        budget: BatchBudget,
        health: Health,
        lock: threading.Lock,
        clock: Clock,
    ) -> None:
        self._name = options.name
        self._memory = options.memory
        self._fail = fail
        self._throughput = throughput
        self._budget = budget
        self._health = health
        self._lock = lock
        self._clock = clock
        self._last_ended = 0.0

    def compute(self, lane: LaneThread, batch: Batch) -> None:
        """Run a batch. Each of its jobs that still waits gets its rows or an error."""
        batch = [(job, index) for job, index in batch if not job.abandoned]
        if not batch:
            return
        try:
            rows, started = self._run(lane, batch)
        except Exception as error:  # a model may raise anything, and every request gets an answer
            self._split(lane, batch, error)
            return
        with self._lock:  # another lane may run a part of the same job
            self._note(batch, self._took_s(lane, started))
            finish([job for (job, index), row in zip(batch, rows, strict=True) if job.add_row(index, row)])

    def _run(self, lane: LaneThread, batch: Batch) -> tuple[Results, float]:
        """One result per input, and the time at which the pass started."""
        size = batch_shape(batch)
        with self._memory.reserved(size) as lane.reservation:
            started = self._clock()
            rows = lane.compute([job.sequences[index] for job, index in batch], self._throughput.expected_s(size))
        if len(rows) != len(batch):
            raise ValueError(f"{len(batch)} sequences gave {len(rows)} rows")
        return rows, started

    def _note(self, batch: Batch, seconds: float) -> None:
        """Record a pass that succeeded."""
        computed = self._throughput.batch(batch, seconds)
        self._health.passed()
        if self._budget.passed(computed):
            logger.info("batch size of %s increased to %d tokens", self._name, self._budget.tokens)

    def _took_s(self, lane: LaneThread, started: float) -> float:
        """Duration of a pass, excluding time queued behind the previous pass."""
        ended = self._clock()
        if lane.fast:
            return ended - started
        began, self._last_ended = max(started, self._last_ended), ended
        return ended - began

    def _split(self, lane: LaneThread, batch: Batch, error: Exception) -> None:
        """Halve a failing batch until the failing input is alone. Only its request gets the error."""
        self._health.failed(error, lambda trial: lane.compute(trial, 0.0))
        if len(batch) > 1:
            if isinstance(error, OutOfMemoryError):
                self._shrink(batch)
            middle = len(batch) // 2
            self.compute(lane, batch[:middle])
            self.compute(lane, batch[middle:])
            return
        if isinstance(error, OutOfMemoryError):
            error = ModelUnavailableError(
                f"{self._name} ran out of memory with an input of {batch_shape(batch).tokens} tokens. Try again later, "
                "send a shorter input, or run the service on a device with more memory.",
                retry_after_s=OUT_OF_MEMORY_RETRY_S,
            )
        self._fail(batch, error)

    def _shrink(self, batch: Batch) -> None:
        with self._lock:
            shrank = self._budget.out_of_memory(self._throughput.computed(batch))
        if shrank:
            logger.warning("%s is out of memory; batch size reduced to %d tokens", self._name, self._budget.tokens)
