"""The queue of a model: jobs, and the order in which they run."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from runners.contracts import Rows, TokenSequences

AGEING_PER_S = 10.0
"""Priority rises by this many steps for each second of waiting, so that no job starves."""

Clock = Callable[[], float]
"""A monotonic clock, in seconds."""


@dataclass(eq=False)
class Job:
    """The inputs of one request in the batcher."""

    sequences: TokenSequences
    future: asyncio.Future[Rows]
    loop: asyncio.AbstractEventLoop
    chunks: deque[list[int]]
    tokens: int
    remaining: int
    waiting_since: float
    """When it was admitted, or last ran a chunk."""
    priority: int = 0
    """0 runs first. Each second of waiting raises the priority by AGEING_PER_S steps."""
    compute_s: float = 0.0
    """Total duration of the passes that computed a part of it."""
    rows: Rows | None = None
    abandoned: bool = False

    def rank(self) -> float:
        """Sort key among fresh jobs, and among started jobs: the lowest runs first."""
        return self.priority + AGEING_PER_S * self.waiting_since

    def outranked_by(self, other: Job, now: float) -> bool:
        """Whether `other` has a higher priority than this job has reached by waiting."""
        return self.priority - AGEING_PER_S * (now - self.waiting_since) > other.priority

    def add_row(self, index: int, row: Rows) -> bool:
        """Store the row of an input; return whether the job now has all of its rows."""
        if self.abandoned:
            return False
        if len(self.sequences) == 1:
            self.rows = row[np.newaxis].astype(np.float32, copy=False)
        else:
            if self.rows is None:
                self.rows = np.empty((len(self.sequences), *row.shape), dtype=np.float32)
            self.rows[index] = row
        self.remaining -= 1
        return not self.remaining


def finish(jobs: Iterable[Job], error: BaseException | None = None) -> None:
    """Resolve the futures of jobs with their rows or an error; cancelled waiters are ignored."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        job.abandoned = True
        by_loop.setdefault(job.loop, []).append(job)
    for loop, ended in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the waiters' loop is closed
            loop.call_soon_threadsafe(_resolve, ended, error)


def _resolve(jobs: list[Job], error: BaseException | None) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if error is not None:
            job.future.set_exception(error)
        else:
            assert job.rows is not None
            job.future.set_result(job.rows)


Batch = list[tuple[Job, int]]
"""The inputs of one pass: each input's job, and its index in the job."""


@dataclass
class Queue:
    """Waiting jobs: fresh ones, and started ones with chunks left. Not thread-safe by itself."""

    clock: Clock = time.monotonic
    fresh: deque[Job] = field(default_factory=deque)
    started: deque[Job] = field(default_factory=deque)
    _last_was_fresh: bool = False

    def __len__(self) -> int:
        return len(self.fresh) + len(self.started)

    def jobs(self) -> Iterator[Job]:
        """Every waiting job, in the order in which they run.

        Fresh and started jobs alternate, so that a small request overtakes a started one of thousands of texts. A job
        never runs before one with a higher priority, unless it has waited long enough.
        """
        now, last_was_fresh = self.clock(), self._last_was_fresh
        fresh, started = (_Line(line) for line in (self.fresh, self.started))
        while fresh.jobs and started.jobs:
            turn, other = (started, fresh) if last_was_fresh else (fresh, started)
            if turn.first.outranked_by(other.first, now):
                turn = other
            last_was_fresh = turn is fresh
            yield turn.pop()
        for line in (fresh, started):
            while line.jobs:
                yield line.pop()

    def age_s(self) -> float:
        """Seconds that the oldest waiting job has waited; 0 if the queue is empty."""
        waiting = [job.waiting_since for line in (self.fresh, self.started) for job in line]
        return self.clock() - min(waiting) if waiting else 0.0

    def next_job(self) -> Job:
        """Remove and return the next job to run."""
        job = next(self.jobs())
        self._last_was_fresh = job in self.fresh
        self.remove(job)
        return job

    def has_small(self, job_tokens: int) -> bool:
        """Whether a fresh job of at most `job_tokens` tokens waits."""
        return any(job.tokens <= job_tokens for job in self.fresh)

    def take_small(self, job_tokens: int, all_tokens: int) -> list[Job]:
        """Remove and return fresh jobs of at most `job_tokens` tokens each and `all_tokens` in total."""
        taken: list[Job] = []
        for job in sorted((job for job in self.fresh if job.tokens <= job_tokens), key=Job.rank):
            if taken and job.tokens + sum(other.tokens for other in taken) > all_tokens:
                break
            taken.append(job)
        for job in taken:
            self.fresh.remove(job)
        return taken

    def remove(self, job: Job) -> None:
        """Remove a job."""
        for line in (self.fresh, self.started):
            if job in line:
                line.remove(job)

    def requeue(self, job: Job) -> None:
        """Append a job with chunks left to the started ones."""
        if job.chunks:
            job.waiting_since = self.clock()
            self.started.append(job)


class _Line:
    """Jobs in the order of their rank, sorted lazily."""

    def __init__(self, jobs: deque[Job]) -> None:
        self.jobs = [(job.rank(), place, job) for place, job in enumerate(jobs)]
        heapq.heapify(self.jobs)

    @property
    def first(self) -> Job:
        return self.jobs[0][2]

    def pop(self) -> Job:
        return heapq.heappop(self.jobs)[2]
