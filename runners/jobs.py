"""Requests that wait for a model: jobs, and whose turn comes next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

from runners.backends import Rows
from runners.tokenization import Sequence

AGEING_PER_S = 10.0
"""Steps of priority that a second of waiting makes up for, so that nobody starves."""


@dataclass(eq=False)
class Job:
    """One request's inputs on their way through the batcher."""

    sequences: SequenceOf[Sequence]
    future: asyncio.Future[Rows]
    loop: asyncio.AbstractEventLoop
    chunks: deque[list[int]]
    tokens: int
    remaining: int
    priority: int = 0
    """0 is served first; each second of waiting counts as AGEING_PER_S steps towards it."""
    waiting_since: float = field(default_factory=time.monotonic)
    compute_s: float = 0.0
    """Time of the passes that it had a part in."""
    rows: Rows | None = None
    abandoned: bool = False

    def rank(self) -> float:
        """Whose turn comes first: the lowest."""
        return self.priority + AGEING_PER_S * self.waiting_since

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

    def age_s(self) -> float:
        """How long the job that has waited longest for a turn has been waiting; 0 where none waits."""
        return time.monotonic() - min(job.waiting_since for job in self.jobs()) if len(self) else 0.0

    def next_job(self) -> Job:
        """Whose turn it is: fresh and started jobs alternate while there are both; within each by priority and age."""
        take_fresh = bool(self.fresh) and not (self.started and self._last_was_fresh)
        self._last_was_fresh = take_fresh
        line = self.fresh if take_fresh else self.started
        job = min(line, key=Job.rank)
        line.remove(job)
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
            job.waiting_since = time.monotonic()
            self.started.append(job)
