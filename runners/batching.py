"""Adaptive batching across requests: admit, fill by padded tokens, one worker thread, futures.

A request becomes a job: its inputs, sorted by length and cut into chunks by cost. The worker takes the next chunk,
adds chunks of other jobs that fit, and runs them together. New jobs and jobs that already had a turn alternate, so
a request of thousands of texts delays a small one by a batch or two, and small ones never starve it.
A lone request is never kept waiting for company.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np

from errors import InternalError, OverloadedError, ServiceError, ShuttingDownError
from runners.backends import OutOfMemoryError, Rows
from runners.planning import CALL_COST_TOKENS, plan
from runners.tokenization import Sequence

logger = logging.getLogger("service.engine")

Run = Callable[[list[Sequence]], Rows]
"""N sequences in, N rows out, in order."""

MAX_RETRY_AFTER_S = 60
_SPEED_MEMORY = 0.8
"""Share of the old estimate that a new measurement of the speed leaves."""


@dataclass(eq=False)
class Job:
    """One request's inputs on their way through the batcher."""

    sequences: SequenceOf[Sequence]
    future: asyncio.Future[Rows]
    loop: asyncio.AbstractEventLoop
    chunks: deque[list[int]]
    tokens: int
    remaining: int
    rows: Rows | None = None
    abandoned: bool = False

    def finish(self, error: BaseException | None = None) -> None:
        """Give the waiter its rows or its error; a waiter that left is no concern."""
        self.abandoned = True
        with contextlib.suppress(RuntimeError):  # the waiter's loop is closed
            self.loop.call_soon_threadsafe(_resolve, self.future, self.rows, error)


def _resolve(future: asyncio.Future[Rows], rows: Rows | None, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        assert rows is not None
        future.set_result(rows)


Batch = list[tuple[Job, int]]
"""Inputs of one pass: whose they are, and which of the job's they are."""


@dataclass
class Queue:
    """Jobs that wait: those that never had a turn, and those that had one. Not thread-safe by itself."""

    fresh: deque[Job] = field(default_factory=deque)
    started: deque[Job] = field(default_factory=deque)
    _last_was_fresh: bool = False

    def __len__(self) -> int:
        return len(self.fresh) + len(self.started)

    def jobs(self) -> Iterable[Job]:
        """Every waiting job, in the order in which the next turns would come."""
        return [*self.fresh, *self.started]

    def next_job(self) -> Job:
        """Whose turn it is: fresh and started jobs alternate while there are both."""
        take_fresh = bool(self.fresh) and not (self.started and self._last_was_fresh)
        self._last_was_fresh = take_fresh
        return self.fresh.popleft() if take_fresh else self.started.popleft()

    def remove(self, job: Job) -> None:
        """Take a job out, wherever it waits."""
        for line in (self.fresh, self.started):
            if job in line:
                line.remove(job)

    def put_back(self, job: Job) -> None:
        """A job that had a turn and has chunks left waits behind the other started ones."""
        if job.chunks:
            self.started.append(job)


class AdaptiveBatcher:
    """One model's queue and the thread that works it off."""

    def __init__(self, run: Run, *, max_batch_tokens: int, max_queued_tokens: int, name: str) -> None:
        self._run = run
        self._name = name
        self._budget = max_batch_tokens
        self._tokens_per_s = 0.0
        self._running: Batch = []
        self._running_since: float | None = None
        self._max_queued_tokens = max_queued_tokens
        self._queue = Queue()
        self._queued_tokens = 0
        self._condition = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=f"batcher {name}", daemon=True)
        self._thread.start()

    @property
    def queued_tokens(self) -> int:
        """Tokens that were admitted and not computed yet."""
        return self._queued_tokens

    @property
    def stalled_s(self) -> float:
        """How long the current pass has been running; 0 between passes."""
        since = self._running_since
        return 0.0 if since is None else time.monotonic() - since

    async def submit(self, sequences: SequenceOf[Sequence]) -> Rows:
        """N sequences -> N rows in the same order.

        OverloadedError where the queue is full. A caller that is cancelled takes its work along.
        """
        loop = asyncio.get_running_loop()
        lengths = [len(sequence) for sequence in sequences]
        chunks = (
            await asyncio.to_thread(plan, lengths, self._budget) if len(lengths) > 64 else plan(lengths, self._budget)
        )
        job = Job(sequences, loop.create_future(), loop, deque(chunks), sum(lengths), len(sequences))
        self._admit(job)
        try:
            return await job.future
        finally:
            if not job.future.done() or job.future.cancelled():
                self._abandon(job)

    def close(self) -> None:
        """Stop the thread after its current batch; whoever still waits gets ShuttingDownError."""
        with self._condition:
            self._closing = True
            waiting = list(self._queue.jobs())
            self._queue = Queue()
            self._condition.notify_all()
        for job in waiting:
            job.finish(ShuttingDownError("The model was unloaded while the request waited. Try again."))
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def abort(self, error: ServiceError) -> None:
        """Give every waiter `error`, also those whose pass hangs, and leave the thread to its fate."""
        with self._condition:
            self._closing = True
            waiting = [*self._queue.jobs(), *dict.fromkeys(job for job, _ in self._running)]
            self._queue = Queue()
            self._condition.notify_all()
        for job in waiting:
            job.finish(error)

    def _admit(self, job: Job) -> None:
        with self._condition:
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
            self._condition.notify()

    def _retry_after_s(self) -> int:
        """Seconds until about half of the queue is worked off."""
        if not self._tokens_per_s:
            return 1
        return max(1, min(MAX_RETRY_AFTER_S, round(self._queued_tokens / self._tokens_per_s / 2)))

    def _abandon(self, job: Job) -> None:
        with self._condition:
            if not job.abandoned:
                job.abandoned = True
                self._queue.remove(job)
                self._queued_tokens -= sum(len(job.sequences[index]) for chunk in job.chunks for index in chunk)
                job.chunks.clear()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not len(self._queue) and not self._closing:
                    self._condition.wait()
                if self._closing:
                    return
                batch = self._running = self._take()
            try:
                self._compute(batch)
            except BaseException as error:  # the thread lives on, and nobody waits for ever
                logger.exception("the batcher of %s failed", self._name)
                self._give_up(batch, InternalError(f"Computing failed ({type(error).__name__}); the log says why."))
            finally:
                self._running = []

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
        longest = max(len(job.sequences[index]) for index in chunk)
        for other in self._queue.jobs():
            while other.chunks:
                merged = self._merged_longest(len(batch), longest, other)
                if merged is None:
                    break
                batch += [(other, index) for index in other.chunks.popleft()]
                longest = merged
            if not other.chunks:
                self._queue.remove(other)
        self._queue.put_back(job)
        self._queued_tokens -= sum(len(owner.sequences[index]) for owner, index in batch)
        return batch

    def _merged_longest(self, count: int, longest: int, other: Job) -> int | None:
        """Length of the batch with the next chunk of `other` in it; None where running it apart is cheaper."""
        chunk = other.chunks[0]
        own = max(len(other.sequences[index]) for index in chunk)
        merged = max(longest, own)
        together = merged * (count + len(chunk))
        apart = longest * count + own * len(chunk) + CALL_COST_TOKENS
        return merged if together <= min(self._budget, apart) else None

    def _compute(self, batch: Batch) -> None:
        batch = [(job, index) for job, index in batch if not job.abandoned]
        if not batch:
            return
        started = time.perf_counter()
        try:
            rows = self._pass([job.sequences[index] for job, index in batch])
            if len(rows) != len(batch):
                raise ValueError(f"{len(batch)} sequences gave {len(rows)} rows")
        except Exception as error:  # whatever a model raises, nobody waits for ever
            self._split(batch, error)
            return
        self._measure(batch, time.perf_counter() - started)
        for (job, index), row in zip(batch, rows, strict=True):
            if job.abandoned:
                continue
            if job.rows is None:
                job.rows = np.empty((len(job.sequences), *row.shape), dtype=np.float32)
            job.rows[index] = row
            job.remaining -= 1
            if not job.remaining:
                job.finish()

    def _pass(self, sequences: list[Sequence]) -> Rows:
        self._running_since = time.monotonic()
        try:
            return self._run(sequences)
        finally:
            self._running_since = None

    def _split(self, batch: Batch, error: Exception) -> None:
        """Halve a failing batch until the input that fails is alone; only its request gets the error."""
        if isinstance(error, OutOfMemoryError):
            self._budget = max(1, min(self._budget, _padded_tokens(batch) // 2))
            logger.warning("%s is out of memory; passes now take at most %d tokens", self._name, self._budget)
        if len(batch) > 1:
            middle = len(batch) // 2
            self._compute(batch[:middle])
            self._compute(batch[middle:])
            return
        self._give_up(batch, error)

    def _measure(self, batch: Batch, seconds: float) -> None:
        speed = _padded_tokens(batch) / max(seconds, 1e-6)
        old = self._tokens_per_s or speed
        self._tokens_per_s = _SPEED_MEMORY * old + (1 - _SPEED_MEMORY) * speed


def _padded_tokens(batch: Batch) -> int:
    return len(batch) * max(len(job.sequences[index]) for job, index in batch)
