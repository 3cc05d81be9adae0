"""The order of turns: fresh and started jobs alternate, a better priority comes first, and waiting makes up for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from runners.batching.queue import AGEING_PER_S, Job, Queue
from runners.contracts import BACKGROUND_PRIORITY, TokenSequence
from tests.unit.fakes import Clock

TEXT = TokenSequence([1, 2, 3, 4])
FULL_WAIT_S = 999 / AGEING_PER_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


class Line:
    """A queue whose jobs have `chunks` turns to come."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.queue = Queue(clock)
        self.clock = clock
        self._loop = loop

    def add(self, priority: int = 0, chunks: int = 1) -> Job:
        """A new job at the end."""
        job = Job([TEXT] * chunks, self._loop.create_future(), self._loop, priority)
        self.queue.add(job)
        return job

    def begun(self, count: int, chunks: int) -> list[Job]:
        """Jobs that had their first turns, in this order, a tenth of a second each."""
        jobs = [self.add(chunks=chunks + 1) for _ in range(count)]
        for job in jobs:
            self.clock.now += 0.1
            self.queue.take([next(job.waits())], job)
        return jobs

    def turn(self, seconds: float = 0.0) -> Job:
        """One job has its turn, which takes a while."""
        job = next(self.queue.jobs())
        self.clock.now += seconds
        self.queue.take([next(job.waits())], job)
        return job


@pytest.fixture
def line(clock: Clock, loop: asyncio.AbstractEventLoop) -> Line:
    return Line(clock, loop)


def test_a_bulk_job_that_started_does_not_take_the_turns_of_better_priorities(line: Line) -> None:
    bulk = line.add(priority=999, chunks=100)
    assert line.turn(seconds=0.1) is bulk  # it was alone
    others = [line.add(chunks=5) for _ in range(6)]
    turns = [line.turn(seconds=0.1) for _ in range(30)]
    assert Counter(turns) == dict.fromkeys(others, 5)
    assert line.turn() is bulk


def test_a_fresh_bulk_job_does_not_take_the_turns_of_those_that_started(line: Line) -> None:
    running = line.add(chunks=10)
    line.turn()
    bulk = line.add(priority=999)
    assert [line.turn(seconds=0.1) for _ in range(9)] == [running] * 9
    assert line.turn() is bulk


@pytest.mark.parametrize("arriving", [1, 2])
@pytest.mark.parametrize("chunks", [1, 100])
def test_bulk_work_never_starves(line: Line, chunks: int, arriving: int) -> None:
    """Whether it had a turn before or not, and the others, too: ten steps of priority a second."""
    bulk = line.add(priority=999, chunks=chunks)
    if chunks > 1:
        line.turn()
    turns: list[Job] = []
    while bulk not in turns and len(turns) < 2 * FULL_WAIT_S:
        while len(line.queue) < 4:  # as much arrives as is computed
            line.add(chunks=arriving)
        turns.append(line.turn(seconds=1.0))
    assert FULL_WAIT_S - 1 <= len(turns) <= FULL_WAIT_S + 8


def test_a_small_request_passes_every_job_that_started(line: Line) -> None:
    line.begun(20, chunks=50)
    for _ in range(5):
        small = line.add()
        assert small in [line.turn(seconds=0.1) for _ in range(2)]


def test_started_jobs_go_in_turn(line: Line) -> None:
    started = line.begun(4, chunks=3)
    assert [line.turn(seconds=0.1) for _ in range(12)] == started * 3


@pytest.mark.parametrize("seed", range(30))
def test_the_order_is_that_of_the_turns_to_come(line: Line, seed: int) -> None:
    """`jobs` says beforehand whose turns come, whatever waits."""
    random = np.random.default_rng(seed)
    for _ in range(int(random.integers(2, 25))):
        line.add(priority=int(random.choice([0, 0, 5, 500, 999])), chunks=2)
        line.clock.now += float(random.exponential(5))
        if random.random() < 0.5:
            line.turn()
    expected = list(line.queue.jobs())
    assert len(expected) == len(line.queue) == len(set(expected))
    for job in expected:
        assert next(line.queue.jobs()) is job
        line.queue.take(list(job.waits()), job)


def test_the_age_is_that_of_the_longest_waiting(line: Line) -> None:
    assert line.queue.age_s() == 0
    line.add()
    line.clock.now += 3
    line.add()
    assert line.queue.age_s() == 3
    line.turn()
    assert line.queue.age_s() == 0


def test_few_of_many_are_looked_at(line: Line) -> None:
    """Only those of whom a pass wants to know are put in order."""
    for _ in range(1000):
        line.add()
    assert len(list(islice(line.queue.jobs(), 3))) == 3


def test_a_started_job_that_joins_others_keeps_its_turn(line: Line) -> None:
    first, second = line.begun(2, chunks=3)
    small = line.add()
    line.queue.take([*small.waits(), next(first.waits())], small)
    assert [line.turn(seconds=0.1) for _ in range(2)] == [first, second]


def test_background_work_runs_last_for_a_day_and_does_not_count_as_waiting(
    clock: Clock, loop: asyncio.AbstractEventLoop
) -> None:
    line = Line(clock, loop)
    background = line.add(priority=BACKGROUND_PRIORITY)
    clock.now += 86_400
    assert line.queue.age_s() == 0
    request = line.add(priority=999)
    clock.now += 2
    assert line.queue.age_s() == 2
    assert list(line.queue.jobs()) == [request, background]
