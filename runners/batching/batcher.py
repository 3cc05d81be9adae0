"""Adaptive batching across requests: admit, fill by padded tokens, one worker thread, futures.

A request becomes a job: its inputs, sorted by length and cut into chunks by cost. The worker takes the next chunk,
adds chunks of other jobs that fit, and runs them together. New jobs and jobs that already had a turn alternate, so
a request of thousands of texts delays a small one by a batch or two, and small ones never starve it.
A lone request is never kept waiting for company.

Where passes overlap (a GPU), a second thread hands over the next full pass while one runs, so that the device never
waits. Where the backend has a second copy of the network, it is the fast lane: a thread of its own answers short
requests while the first one is busy with a large one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence as SequenceOf

from errors import InternalError, OverloadedError, ServiceError, ShuttingDownError
from runners.backends import Rows
from runners.batching.batch_budget import BatchBudget
from runners.batching.health import Health
from runners.batching.lane_threads import FAST_LANE_TOKENS, LARGE_JOB_TOKENS, SMALL_JOB_TOKENS, Lane, Run
from runners.batching.passes import Passes
from runners.batching.planning import CALL_COST_TOKENS, Extent, plan
from runners.batching.queue import Batch, Clock, Job, Queue
from runners.batching.throughput import Throughput, extent
from runners.pool.memory import PassMemory, unlimited
from runners.text.tokenization import Sequence
from runners.timings import Timings

logger = logging.getLogger("service.engine")

MAX_RETRY_AFTER_S = 60
_PLANNED_INLINE = 64
"""Texts of a request up to which planning takes less time than waking another thread."""


class AdaptiveBatcher:
    """One model's queue and the threads that work it off; `run_beside` is the fast lane's network."""

    def __init__(
        self,
        run: Run,
        *,
        run_beside: Run | None = None,
        max_batch_tokens: int,
        max_queued_tokens: int,
        name: str,
        padding_cost: float = 1.0,
        overlaps: bool = False,
        call_cost_tokens: int = CALL_COST_TOKENS,
        tokens_per_s: float = 0.0,
        trial: Sequence | None = None,
        memory: PassMemory | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._name = name
        self._budget = BatchBudget(max_batch_tokens)
        self._padding_cost = padding_cost
        self._call_cost = call_cost_tokens
        self._throughput = Throughput(name, padding_cost, tokens_per_s)
        self._health = Health(name, trial)
        self._memory = memory or unlimited()
        self._clock = clock
        self._lock = threading.Lock()
        self._passes = Passes(
            name,
            self._give_up,
            throughput=self._throughput,
            budget=self._budget,
            health=self._health,
            memory=self._memory,
            lock=self._lock,
            clock=clock,
        )
        self._main = [self._lane(run) for _ in range(2 if overlaps else 1)]
        self._fast = None if run_beside is None else self._lane(run_beside, fast=True)
        self._lanes = self._main if self._fast is None else [*self._main, self._fast]
        self._max_queued_tokens = max_queued_tokens
        self._queue = Queue(clock)
        self._queued_tokens = 0
        self._closing = False
        for lane in self._lanes:
            title = f"fast lane {name}" if lane is self._fast else f"batcher {name}"
            lane.thread = threading.Thread(target=self._work, args=(lane,), name=title, daemon=True)
            lane.thread.start()

    def _lane(self, run: Run, *, fast: bool = False) -> Lane:
        return Lane(run, threading.Condition(self._lock), self._clock, fast)

    @property
    def queued_tokens(self) -> int:
        """Tokens that were admitted and not computed yet."""
        return self._queued_tokens

    @property
    def stalled_s(self) -> float:
        """How long the oldest of the current passes has been running; 0 between passes."""
        started = [since for lane in self._lanes if (since := lane.since) is not None]
        return self._clock() - min(started) if started else 0.0

    def overdue(self, at_least_s: float) -> bool:
        """Whether a pass takes so much longer than its size explains that it must be hanging (Lane.overdue)."""
        return any(lane.overdue(at_least_s) for lane in self._lanes)

    @property
    def lost(self) -> bool:
        """Whether no pass will go well any more, as the device is gone (health.py)."""
        return self._health.lost

    async def submit(self, sequences: SequenceOf[Sequence], priority: int = 0, timings: Timings | None = None) -> Rows:
        """N sequences -> N rows in the same order; of waiting requests those with a low `priority` come first.

        `timings` is told how long they waited and were computed.

        OverloadedError where the queue is full; InputTooLongError where the memory does not suffice for the longest.
        A caller that is cancelled takes its work along.
        """
        started = self._clock()
        loop = asyncio.get_running_loop()
        lengths = [len(sequence) for sequence in sequences]
        self._memory.check(max(lengths, default=0))
        chunks = await asyncio.to_thread(self._plan, lengths) if len(lengths) > _PLANNED_INLINE else self._plan(lengths)
        job = Job(
            sequences, loop.create_future(), loop, deque(chunks), sum(lengths), len(sequences), self._clock(), priority
        )
        self._admit(job)
        try:
            return await job.future
        finally:
            if not job.future.done() or job.future.cancelled():
                self._abandon(job)
            if timings is not None:
                timings.compute_s += job.compute_s
                timings.queue_s += max(0.0, self._clock() - started - job.compute_s)

    def close(self) -> None:
        """Stop the thread after its current batch; whoever still waits gets ShuttingDownError."""
        with self._lock:
            waiting = self._stop()
        for job in waiting:
            job.finish(ShuttingDownError("The model was unloaded while the request waited. Try again."))
        for lane in self._lanes:
            if lane.thread is not None and lane.thread is not threading.current_thread():
                lane.thread.join()

    def abort(self, error: ServiceError) -> None:
        """Give every waiter `error`, also those whose pass hangs, and leave the thread to its fate."""
        with self._lock:
            running = dict.fromkeys(job for lane in self._lanes for job, _ in lane.running)
            waiting = [*self._stop(), *running]
            reservations = [lane.reservation for lane in self._lanes if lane.reservation is not None]
        for reservation in reservations:  # a pass that hangs must not keep those of other models waiting
            reservation.release()
        for job in waiting:
            job.finish(error)

    def _stop(self) -> list[Job]:
        """Take no more work, and empty the queue and its metrics; the jobs that were waiting."""
        self._closing = True
        waiting = list(self._queue.jobs())
        self._queue = Queue(self._clock)
        self._queued_tokens = 0
        self._throughput.queue(self._queue, 0)
        for lane in self._lanes:
            lane.wake.notify()
        return waiting

    def _admit(self, job: Job) -> None:
        with self._lock:
            if self._closing:
                raise ShuttingDownError("The model is being unloaded. Try again.")
            if self._queued_tokens and self._queued_tokens + job.tokens > self._max_queued_tokens:
                raise OverloadedError(
                    f"{self._queued_tokens} tokens wait for this model and {job.tokens} more would exceed the limit "
                    f"of {self._max_queued_tokens} (MAX_QUEUED_TOKENS). Try again later.",
                    retry_after_s=self._retry_after_s(),
                )
            self._queued_tokens += job.tokens
            self._queue.fresh.append(job)
            self._wake_main()
            self._wake_fast_lane()

    def _plan(self, lengths: list[int]) -> list[list[int]]:
        return plan(lengths, self._budget.tokens, padding_cost=self._padding_cost, call_cost=self._call_cost)

    def _wake_main(self) -> None:
        """One lane at most: a second pass is handed over early where it is a full one, else it waits for company."""
        idle = [lane for lane in self._main if not lane.running]
        if idle and self._may_start(idle[0]):
            idle[0].wake.notify()

    def _may_start(self, lane: Lane) -> bool:
        busy = any(other.running for other in self._main if other is not lane)
        return len(self._queue) > 0 and (not busy or self._queued_tokens >= self._budget.tokens)

    def _wake_fast_lane(self) -> None:
        """Only where it has something to do: each needless wake would cost everybody a turn at the interpreter."""
        if self._fast is not None and self._runs_large() and self._queue.has_small(SMALL_JOB_TOKENS):
            self._fast.wake.notify()

    def _runs_large(self) -> bool:
        return any(job.tokens >= LARGE_JOB_TOKENS for lane in self._main for job, _ in lane.running)

    def _retry_after_s(self) -> int:
        """Seconds until about half of the queue is worked off."""
        if not self._throughput.tokens_per_s:
            return 1
        return max(1, min(MAX_RETRY_AFTER_S, round(self._queued_tokens / self._throughput.tokens_per_s / 2)))

    def _abandon(self, job: Job) -> None:
        with self._lock:
            if not job.abandoned:
                job.abandoned = True
                if self._closing:  # the queue was emptied, and its metrics with it
                    return
                self._queue.remove(job)
                self._queued_tokens -= sum(len(job.sequences[index]) for chunk in job.chunks for index in chunk)
                job.chunks.clear()
                self._throughput.queue(self._queue, self._queued_tokens)

    def report_queue(self) -> None:
        """Bring the queue's metrics up to date, also while a pass hangs."""
        with self._lock:
            self._throughput.queue(self._queue, self._queued_tokens)

    def _work(self, lane: Lane) -> None:
        while True:
            with self._lock:
                while not (batch := self._next(lane)) and not self._closing:
                    lane.wake.wait()
                if self._closing:
                    return
                lane.running = batch
                self._throughput.queue(self._queue, self._queued_tokens)
                if lane is not self._fast:
                    self._wake_fast_lane()
                    self._wake_main()
            try:
                self._passes.compute(lane, batch)
            except BaseException as error:  # the thread lives on, and nobody waits for ever
                logger.exception("the batcher of %s failed", self._name)
                self._give_up(batch, InternalError(f"Computing failed ({type(error).__name__}); the log says why."))
            finally:
                lane.running = []

    def _next(self, lane: Lane) -> Batch:
        """What the lane does next; nothing where it has to wait."""
        if self._closing:
            return []
        if lane is not self._fast:
            return self._take() if self._may_start(lane) else []
        if not self._runs_large():
            return []
        small = self._queue.take_small(SMALL_JOB_TOKENS, FAST_LANE_TOKENS)
        batch = [(job, index) for job in small for chunk in job.chunks for index in chunk]
        for job in small:
            job.chunks.clear()
        self._queued_tokens -= sum(job.tokens for job in small)
        return batch

    def _give_up(self, batch: Batch, error: Exception) -> None:
        for job in dict.fromkeys(job for job, _ in batch):
            if not job.abandoned:
                self._abandon(job)
                job.finish(error)

    def _take(self) -> Batch:
        """The next batch: a chunk of the job whose turn it is, and chunks of others while that saves time."""
        job = self._queue.next_job()
        chunk = job.chunks.popleft()
        batch = [(job, index) for index in chunk]
        size = extent(batch)
        for other in self._queue.jobs():
            while other.chunks:
                more = extent([(other, index) for index in other.chunks[0]])
                if not self._pays(size, more):
                    break
                batch += [(other, index) for index in other.chunks.popleft()]
                size += more
            if not other.chunks:
                self._queue.remove(other)
        self._queue.put_back(job)
        self._queued_tokens -= sum(len(owner.sequences[index]) for owner, index in batch)
        return batch

    def _pays(self, size: Extent, more: Extent) -> bool:
        """Whether one pass for both fits and is cheaper than two."""
        both, first, second = (each.computed(self._padding_cost) for each in (size + more, size, more))
        return both <= min(self._budget.tokens, first + second + self._call_cost)
