"""Requests that wait for a model: jobs, and whose turn comes next."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

from runners.backends import Rows
from runners.text.tokenization import Sequence

AGEING_PER_S = 10.0
"""Steps by which priority rises for each second of waiting, so that no job starves."""

Clock = Callable[[], float]
"""Seconds since any moment, never going back."""


@dataclass(eq=False)
class Job:
    """One request's inputs on their way through the batcher."""

    sequences: SequenceOf[Sequence]
    future: asyncio.Future[Rows]
    loop: asyncio.AbstractEventLoop
    chunks: deque[list[int]]
    tokens: int
    remaining: int
    waiting_since: float
    """When it was admitted, or had its last turn."""
    priority: int = 0
    """0 is served first; each second of waiting counts as AGEING_PER_S steps towards it."""
    compute_s: float = 0.0
    """Time of the passes that it had a part in."""
    rows: Rows | None = None
    abandoned: bool = False

    def rank(self) -> float:
        """Order among jobs of one line: the lowest has its turn first."""
        return self.priority + AGEING_PER_S * self.waiting_since

    def outranked_by(self, other: Job, now: float) -> bool:
        """Whether `other` has a better priority than this job has reached by waiting."""
        return self.priority - AGEING_PER_S * (now - self.waiting_since) > other.priority

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

    clock: Clock = time.monotonic
    fresh: deque[Job] = field(default_factory=deque)
    started: deque[Job] = field(default_factory=deque)
    _last_was_fresh: bool = False

    def __len__(self) -> int:
        return len(self.fresh) + len(self.started)

    def jobs(self) -> Iterator[Job]:
        """Every waiting job, in the order in which the next turns come.

        Fresh and started jobs alternate, so that a small request passes thousands of texts that have begun; but a job
        never takes the turn of one with a better priority, unless it has waited long enough to make up for it.
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
        """How long the job that has waited longest for a turn has been waiting; 0 where none waits."""
        waiting = [job.waiting_since for line in (self.fresh, self.started) for job in line]
        return self.clock() - min(waiting) if waiting else 0.0

    def next_job(self) -> Job:
        """Take out the job whose turn it is."""
        job = next(self.jobs())
        self._last_was_fresh = job in self.fresh
        self.remove(job)
        return job

    def has_small(self, job_tokens: int) -> bool:
        """Whether a fresh job of at most so many tokens waits."""
        return any(job.tokens <= job_tokens for job in self.fresh)

    def take_small(self, job_tokens: int, all_tokens: int) -> list[Job]:
        """Fresh jobs of at most `job_tokens` tokens each and `all_tokens` together, as many as fit."""
        taken: list[Job] = []
        for job in sorted((job for job in self.fresh if job.tokens <= job_tokens), key=Job.rank):
            if taken and job.tokens + sum(other.tokens for other in taken) > all_tokens:
                break
            taken.append(job)
        for job in taken:
            self.fresh.remove(job)
        return taken

    def remove(self, job: Job) -> None:
        """Take a job out, wherever it waits."""
        for line in (self.fresh, self.started):
            if job in line:
                line.remove(job)

    def put_back(self, job: Job) -> None:
        """A job that had a turn and has chunks left waits behind the other started ones."""
        if job.chunks:
            job.waiting_since = self.clock()
            self.started.append(job)


class _Line:
    """Jobs of one kind by rank; sorted as far as they are read."""

    def __init__(self, jobs: deque[Job]) -> None:
        self.jobs = [(job.rank(), place, job) for place, job in enumerate(jobs)]
        heapq.heapify(self.jobs)

    @property
    def first(self) -> Job:
        return self.jobs[0][2]

    def pop(self) -> Job:
        return heapq.heappop(self.jobs)[2]
