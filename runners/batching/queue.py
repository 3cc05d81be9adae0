"""The queue of a model: jobs, and the order in which they run."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from runners.contracts import BACKGROUND_PRIORITY, Results, Rows, TextOutputs, TokenSequences, only_dense

AGEING_PER_S = 10.0
"""Priority rises by this many steps for each second of waiting, so that no job starves."""

Clock = Callable[[], float]
"""A monotonic clock, in seconds."""


@dataclass(eq=False)
class Job:
    """The inputs of one request in the batcher."""

    sequences: TokenSequences
    future: asyncio.Future[Results]
    loop: asyncio.AbstractEventLoop
    priority: int = 0
    """0 runs first. Each second of waiting raises the priority by AGEING_PER_S steps."""
    waiting_since: float = 0.0
    """When it was admitted, started, or last had its turn."""
    compute_s: float = 0.0
    """Total duration of the passes that computed a part of it."""
    rows: Results | None = None
    abandoned: bool = False

    def __post_init__(self) -> None:
        self.lengths = [len(sequence) for sequence in self.sequences]
        self.tokens = sum(self.lengths)
        self.remaining = len(self.lengths)
        self._only_dense = only_dense(self.sequences)
        self.pending = dict.fromkeys(sorted(range(len(self.lengths)), key=self.lengths.__getitem__))
        """Indices of the inputs that wait, short ones first."""

    def rank(self) -> float:
        """Sort key among fresh jobs, and among started jobs: the lowest runs first."""
        return self.priority + AGEING_PER_S * self.waiting_since

    def outranked_by(self, other: Job, now: float) -> bool:
        """Whether `other` has a higher priority than this job has reached by waiting."""
        return self.priority - AGEING_PER_S * (now - self.waiting_since) > other.priority

    def add_row(self, index: int, found: Rows | TextOutputs) -> bool:
        """Store the result of an input; return whether the job now has all of its results."""
        if self.abandoned:
            return False
        if self._only_dense:
            self._add_dense(index, _dense(found))
        else:
            assert isinstance(found, TextOutputs)
            if self.rows is None:
                self.rows = [found] * len(self.lengths)
            assert isinstance(self.rows, list)
            self.rows[index] = found
        self.remaining -= 1
        return not self.remaining

    def _add_dense(self, index: int, row: Rows) -> None:
        if len(self.lengths) == 1:
            self.rows = row[np.newaxis].astype(np.float32, copy=False)
        else:
            if self.rows is None:
                self.rows = np.empty((len(self.lengths), *row.shape), dtype=np.float32)
            assert isinstance(self.rows, np.ndarray)
            self.rows[index] = row

    def waits(self) -> Iterator[tuple[Job, int]]:
        """Its inputs that wait, short ones first."""
        return ((self, index) for index in self.pending)


def _dense(found: Rows | TextOutputs) -> Rows:
    """The row of an input whose pass may have computed more for other inputs."""
    row = found.dense if isinstance(found, TextOutputs) else found
    assert row is not None
    return row


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


class Queue:
    """Waiting jobs: fresh ones, and started ones with inputs left. Not thread-safe by itself."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.tokens = 0
        """Total of the inputs that wait."""
        self._clock = clock
        self._fresh = _Line()
        self._started = _Line()
        self._last_was_fresh = False

    def __len__(self) -> int:
        return len(self._fresh) + len(self._started)

    def jobs(self) -> Iterator[Job]:
        """Every waiting job, in the order in which they run. The queue must not change meanwhile.

        Fresh and started jobs alternate, so that a small request overtakes a started one of thousands of texts. A job
        never runs before one with a higher priority, unless it has waited long enough.
        """
        now, last_was_fresh = self._clock(), self._last_was_fresh
        lines = iter(self._fresh), iter(self._started)
        fresh, started = (next(line, None) for line in lines)
        while fresh is not None and started is not None:
            turn, other = (started, fresh) if last_was_fresh else (fresh, started)
            if turn.outranked_by(other, now):
                turn = other
            last_was_fresh = turn is fresh
            yield turn
            if last_was_fresh:
                fresh = next(lines[0], None)
            else:
                started = next(lines[1], None)
        for first, rest in zip((fresh, started), lines, strict=True):
            if first is not None:
                yield first
                yield from rest

    def age_s(self) -> float:
        """Seconds that the oldest waiting job has waited; 0 if none waits. Background work may wait for long."""
        oldest = [job for line in (self._fresh, self._started) for job in line.oldest()]
        waiting = [job.waiting_since for job in oldest if job.priority < BACKGROUND_PRIORITY]
        return self._clock() - min(waiting) if waiting else 0.0

    def add(self, job: Job) -> None:
        """Append a fresh job."""
        job.waiting_since = self._clock()
        self.tokens += job.tokens
        self._fresh.add(job)

    def take(self, batch: Batch, lead: Job | None = None) -> None:
        """Remove inputs whose computation starts. It is the turn of `lead`, if any; the other jobs join it."""
        for job, index in batch:
            del job.pending[index]
            self.tokens -= job.lengths[index]
        if lead is not None:
            self._last_was_fresh = lead in self._fresh
        now = self._clock()
        for job in dict.fromkeys(job for job, _ in batch):
            if job is lead or not job.pending or job in self._fresh:  # others keep their place
                self._remove(job)
                if job.pending:
                    job.waiting_since = now
                    self._started.add(job)

    def has_fresh(self, tokens: range) -> bool:
        """Whether a fresh job of this many tokens waits."""
        return any(job.tokens in tokens for job in self._fresh)

    def take_small(self, job_tokens: int, all_tokens: int) -> Batch:
        """Take fresh jobs of at most `job_tokens` tokens each and `all_tokens` in total."""
        batch: Batch = []
        room = all_tokens
        for job in self._fresh:
            if job.tokens <= job_tokens:
                if batch and job.tokens > room:
                    break
                room -= job.tokens
                batch += job.waits()
        self.take(batch)
        return batch

    def remove(self, job: Job) -> None:
        """Remove a job whose inputs need not be computed."""
        self._remove(job)
        self.tokens -= sum(job.lengths[index] for index in job.pending)
        job.pending.clear()

    def _remove(self, job: Job) -> None:
        for line in (self._fresh, self._started):
            line.remove(job)


class _Line:
    """Jobs in the order of their rank. Adding and removing a job takes constant time.

    Jobs of one priority are added in the order in which they started to wait, which is that of their rank.
    """

    def __init__(self) -> None:
        self._by_priority: dict[int, dict[Job, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_priority.values()))

    def __contains__(self, job: Job) -> bool:
        return job in self._by_priority.get(job.priority, ())

    def __iter__(self) -> Iterator[Job]:
        lines = list(self._by_priority.values())
        return iter(lines[0]) if len(lines) == 1 else heapq.merge(*lines, key=Job.rank)

    def oldest(self) -> list[Job]:
        """The job of each priority that has waited longest."""
        return [next(iter(jobs)) for jobs in self._by_priority.values()]

    def add(self, job: Job) -> None:
        self._by_priority.setdefault(job.priority, {})[job] = None

    def remove(self, job: Job) -> None:
        jobs = self._by_priority.get(job.priority, {})
        jobs.pop(job, None)
        if not jobs:
            self._by_priority.pop(job.priority, None)
