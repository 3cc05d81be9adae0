"""Adaptive batching across requests: one queue per model, batches filled by tokens, results through futures.

A request becomes a job. New jobs and started jobs alternate: a request of thousands of texts delays a small one by a
batch or two, and small ones never starve a large one. The worker thread runs inputs of the job whose turn it is, with
those of other jobs in one forward pass where that saves time (planner.py). A single request never waits for others to
fill its batch.

On a GPU a second thread launches the next full pass while one runs, so that the device never waits. If the backend has
a second copy of the network, it is the fast lane: its own thread runs short requests while a large one is computed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from errors import InternalError, OverloadedError, ServiceError, ShuttingDownError
from runners.batching.batch_budget import BatchBudget
from runners.batching.health import Health
from runners.batching.lane_threads import LaneThread
from runners.batching.options import BatchingOptions
from runners.batching.passes import Passes
from runners.batching.queue import Batch, Clock, Job, Queue, finish
from runners.batching.schedule import Schedule
from runners.batching.throughput import Throughput
from runners.contracts import Results, Run, Timings, TokenSequences

logger = logging.getLogger("service.engine")

MAX_RETRY_AFTER_S = 60


class AdaptiveBatcher:
    """One model's queue and its worker threads. `second_run` is the network of the fast lane."""

    def __init__(
        self,
        run: Run,
        options: BatchingOptions,
        *,
        second_run: Run | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._options = options
        self._budget = BatchBudget(options.max_batch_tokens)
        self._throughput = Throughput(options.name, options.padding_cost, options.costs)
        self._health = Health(options.name, options.trial)
        self._clock = clock
        self._lock = threading.Lock()
        self._passes = Passes(
            options,
            self._fail,
            throughput=self._throughput,
            budget=self._budget,
            health=self._health,
            lock=self._lock,
            clock=clock,
        )
        self._schedule = Schedule(
            options,
            self._throughput.costs,
            self._budget,
            main=[self._lane(run) for _ in range(options.concurrent_passes)],
            fast=None if second_run is None else self._lane(second_run, fast=True),
            clock=clock,
        )
        self._lanes = self._schedule.lanes
        self._closing = False
        self._wake_is_scheduled = False
        for lane in self._lanes:
            title = f"{'fast lane' if lane.fast else 'batcher'} {options.name}"
            lane.thread = threading.Thread(target=self._work, args=(lane,), name=title, daemon=True)
            lane.thread.start()

    def _lane(self, run: Run, *, fast: bool = False) -> LaneThread:
        return LaneThread(run, threading.Condition(self._lock), self._clock, fast)

    @property
    def queued_tokens(self) -> int:
        """Number of admitted tokens whose computation has not started."""
        return self._queue.tokens

    @property
    def _queue(self) -> Queue:
        return self._schedule.queue

    @property
    def stalled_s(self) -> float:
        """Seconds since the oldest running pass started; 0 if none runs."""
        started = [since for lane in self._lanes if (since := lane.since) is not None]
        return self._clock() - min(started) if started else 0.0

    def overdue(self, at_least_s: float) -> bool:
        """Whether a pass is stuck (LaneThread.overdue)."""
        return any(lane.overdue(at_least_s) for lane in self._lanes)

    @property
    def lost(self) -> bool:
        """Whether the device no longer works (health.py)."""
        return self._health.lost

    async def submit(self, sequences: TokenSequences, priority: int = 0, timings: Timings | None = None) -> Results:
        """N sequences -> N results in the same order. Adds the time in the queue and in forward passes to `timings`.

        Among waiting requests, those with a lower `priority` run first. OverloadedError if the queue is full;
        InputTooLongError if the longest sequence does not fit in memory. Cancelling the caller cancels its work.
        """
        started = self._clock()
        job = self.start(sequences, priority)
        try:
            return await job.future
        finally:
            if not job.future.done() or job.future.cancelled():
                self.abandon(job)
            if timings is not None:
                timings.compute_s += job.compute_s
                timings.queue_s += max(0.0, self._clock() - started - job.compute_s)

    def start(self, sequences: TokenSequences, priority: int = 0) -> Job:
        """The same for callbacks of the job's `future`. If that is cancelled, the caller must abandon the job."""
        loop = asyncio.get_running_loop()
        job = Job(sequences, loop.create_future(), loop, priority)
        self._options.memory.check(max(job.lengths, default=0))
        self._admit(job)
        return job

    def abandon(self, job: Job) -> None:
        """Drop the inputs of a job that wait."""
        with self._lock:
            if not job.abandoned:
                job.abandoned = True
                if self._closing:  # the queue was emptied, and its metrics with it
                    return
                self._queue.remove(job)
                self._report()

    def close(self) -> None:
        """Stop the threads after their current batches. Waiting requests get ShuttingDownError."""
        with self._lock:
            waiting = self._stop()
        finish(waiting, ShuttingDownError("The model was unloaded while the request waited. Try again."))
        for lane in self._lanes:
            if lane.thread is not None and lane.thread is not threading.current_thread():
                lane.thread.join()

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error`, running ones included, and abandon stuck passes."""
        with self._lock:
            running = dict.fromkeys(job for lane in self._lanes for job, _ in lane.running)
            waiting = [*self._stop(), *running]
            reservations = [lane.reservation for lane in self._lanes if lane.reservation is not None]
        for reservation in reservations:  # a stuck pass must not block those of other models
            reservation.release()
        finish(waiting, error)

    def _stop(self) -> list[Job]:
        """Accept no more work, and empty the queue and its metrics. Returns the jobs that were waiting."""
        self._closing = True
        waiting = self._schedule.clear()
        self._throughput.queue(self._queue, running=0)
        for lane in self._lanes:
            lane.wake.notify()
        return waiting

    def _admit(self, job: Job) -> None:
        with self._lock:
            if self._closing:
                raise ShuttingDownError("The model is being unloaded. Try again.")
            if not self._schedule.admits(job):
                raise OverloadedError(
                    f"{self._queue.tokens} tokens wait for this model and {job.tokens} more would exceed the limit "
                    f"of {self._options.max_queued_tokens} (MAX_QUEUED_TOKENS). Try again later.",
                    retry_after_s=self._retry_after_s(),
                )
            self._queue.add(job)
            if not self._wake_is_scheduled:
                self._wake_is_scheduled = True
                job.loop.call_soon(self._wake)

    def _wake(self) -> None:
        """Wake the lanes that have work, once for all requests of one turn of the event loop.

        A thread that is woken for each of them takes the GIL from the event loop each time, for a batch of one.
        """
        with self._lock:
            self._wake_is_scheduled = False
            self._wake_ready()

    def _wake_ready(self) -> None:
        for lane in self._schedule.ready():
            lane.wake.notify()

    def _retry_after_s(self) -> int:
        """Estimated seconds until half of the queue is computed."""
        return max(1, min(MAX_RETRY_AFTER_S, round(self._queue.tokens * self._throughput.token_s / 2)))

    def report_queue(self) -> None:
        """Update the queue's metrics, even while a pass is stuck."""
        with self._lock:
            if not self._closing:
                self._report()

    def _report(self) -> None:
        running = {job for lane in self._lanes for job, _ in lane.running}
        self._throughput.queue(self._queue, len(running))

    def _work(self, lane: LaneThread) -> None:
        while True:
            with self._lock:
                while not (batch := self._next(lane)) and not self._closing:
                    self._report()
                    lane.wake.wait()
                if self._closing:
                    return
                lane.start(batch)
                self._report()
                if not lane.fast:
                    self._wake_ready()
            try:
                self._passes.compute(lane, batch)
            except BaseException as error:  # the thread keeps running, and every request gets an answer
                logger.exception("the batcher of %s failed", self._options.name)
                self._fail(
                    batch, InternalError(f"The computation failed ({type(error).__name__}); see the service log.")
                )
            finally:
                lane.start([])

    def _next(self, lane: LaneThread) -> Batch:
        """The lane's next batch; empty if it has to wait."""
        return [] if self._closing else self._schedule.next(lane)

    def _fail(self, batch: Batch, error: Exception) -> None:
        for job in dict.fromkeys(job for job, _ in batch):
            if not job.abandoned:
                self.abandon(job)
                finish([job], error)
