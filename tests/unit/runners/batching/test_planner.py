"""Inputs of several requests are planned together: cheaper than apart, each exactly once, small requests first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.batching import planner as module
from runners.batching.costs import Costs
from runners.batching.lane_threads import SMALL_JOB_TOKENS
from runners.batching.planner import RECENT_S, SIZES_PASSES, Planner
from runners.batching.planning import plan
from runners.batching.queue import Batch, Job, Queue
from runners.batching.throughput import batch_shape
from runners.contracts import TokenSequence
from tests.unit.fakes import Clock

PADDING_COST = 0.15
COSTS = Costs(0.01, 4.7e-5, 1.8e-5, 1e-7)
"""Seconds, as measured with a cross-encoder of 12 layers on a Xeon with AMX, where only attention computes padding."""
WIDE, SHORT = 2048, 512
LOOP = asyncio.new_event_loop()


class Model:
    """A queue and its planner; time passes as the costs say."""

    def __init__(self, *, budget: int = WIDE, short: int = SHORT, fast_lane: bool = True) -> None:
        self.clock = Clock()
        self.queue = Queue(self.clock)
        self.budget = budget
        self.planner = Planner(COSTS, PADDING_COST, short_pass_tokens=short, has_fast_lane=fast_lane, clock=self.clock)

    def add(self, lengths: Sequence[int], priority: int = 0) -> Job:
        job = Job([TokenSequence([1] * length) for length in lengths], LOOP.create_future(), LOOP, priority)
        self.queue.add(job)
        return job

    def step(self) -> Batch:
        batch = self.planner.take(self.queue, self.budget)
        self.clock.now += COSTS.of(batch_shape(batch))
        return batch

    def steps(self) -> Iterator[Batch]:
        while self.queue:
            yield self.step()

    def seconds(self) -> float:
        """Until the queue is empty."""
        started = self.clock.now
        for _ in self.steps():
            pass
        return self.clock.now - started


def documents(count: int, seed: int = 0) -> list[int]:
    """Tokens of the documents of a request: many short, few long."""
    lengths = np.random.default_rng(seed).lognormal(np.log(60), 0.75, count)
    return [int(length) for length in lengths.clip(20, 250)]


def computed(batch: Batch) -> float:
    return batch_shape(batch).computed(PADDING_COST)


@pytest.mark.parametrize(("together", "faster"), [(8, 1.1), (40, 1.15)])
def test_planning_together_is_faster(together: int, faster: float) -> None:
    """40 requests of 20 documents: one after the other, and in groups."""
    requests = [documents(20, seed) for seed in range(40)]
    model = Model()
    apart = joint = 0.0
    for request in requests:
        model.add(request)
        apart += model.seconds()
    for start in range(0, 40, together):
        for request in requests[start : start + together]:
            model.add(request)
        joint += model.seconds()
    assert apart / joint > faster


@given(
    jobs=st.lists(
        st.tuples(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.sampled_from([0, 0, 0, 500])),
        min_size=1,
        max_size=12,
    ),
    fast_lane=st.booleans(),
)
def test_every_input_runs_once_and_within_the_budget(jobs: list[tuple[list[int], int]], fast_lane: bool) -> None:
    model = Model(budget=300, short=100, fast_lane=fast_lane)
    added: list[Job] = []
    ran: Counter[tuple[Job, int]] = Counter()
    for lengths, priority in jobs:  # some arrive while others run
        added.append(model.add(lengths, priority))
        ran.update(model.step())
    for batch in model.steps():
        ran.update(batch)
        assert len(batch) == 1 or computed(batch) <= 300
    assert ran == Counter((job, index) for job in added for index in range(len(job.lengths)))
    assert model.queue.tokens == 0


@pytest.mark.parametrize("requests", [1, 8])
def test_passes_are_wide_while_no_smaller_request_waits(requests: int) -> None:
    model = Model()
    for seed in range(requests):
        model.add(documents(160 // requests, seed))
    assert max(map(computed, model.steps())) > SHORT


@pytest.mark.parametrize("fast_lane", [True, False])
def test_passes_are_short_while_a_small_request_waits_that_has_no_fast_lane(fast_lane: bool) -> None:
    model = Model(fast_lane=fast_lane)
    for seed in range(8):
        model.add(documents(20, seed))
    for _ in range(4):
        model.add([12])
        if fast_lane:
            model.queue.take_small(SMALL_JOB_TOKENS, SHORT)
        assert (computed(model.step()) > SHORT) == fast_lane


def test_a_query_is_in_one_of_the_next_two_passes() -> None:
    model = Model(fast_lane=False)
    for seed in range(8):
        model.add(documents(20, seed))
    for _ in range(5):
        model.step()
        query = model.add([SMALL_JOB_TOKENS])
        assert any(job is query for _ in range(2) for job, _ in model.step())


def seconds_beside_bulk(model: Model, texts: int) -> float:
    """Total of ten requests of `texts` texts, one after the other, beside two bulk requests."""
    for seed in range(2):
        model.add(documents(3000, seed))
    seconds = 0.0
    for seed in range(10):
        model.step()
        arrived, job = model.clock.now, model.add(documents(texts, seed))
        while job.pending:
            model.step()
        seconds += model.clock.now - arrived
    return seconds


@pytest.mark.parametrize("texts", [8, 20, 100])
def test_bulk_requests_delay_others_no_more_than_in_short_passes(texts: int) -> None:
    assert seconds_beside_bulk(Model(), texts) < 1.05 * seconds_beside_bulk(Model(budget=SHORT), texts)


def test_passes_of_bulk_requests_are_wide_again_a_while_after_a_smaller_one() -> None:
    model = Model()
    for seed in range(2):
        model.add(documents(600, seed))
    few = model.add(documents(8))
    while few.pending:
        model.step()
    ended = model.clock.now
    while model.clock.now < ended + RECENT_S - 0.1:
        assert computed(model.step()) <= SHORT
    model.clock.now += 0.1
    assert computed(model.step()) > SHORT


def test_bulk_requests_go_on_while_others_arrive() -> None:
    model = Model()
    bulk = model.add(documents(600))
    assert bulk.tokens > max(SIZES_PASSES) * WIDE
    for number in range(1000):
        while len(model.queue) < 5:
            model.add(documents(20, number))
        model.step()
        if not bulk.pending:
            return
    raise AssertionError("the bulk request never ended")


def test_requests_of_another_priority_run_apart() -> None:
    model = Model()
    first = [model.add(documents(20, seed)) for seed in range(3)]
    last = [model.add(documents(20, seed), priority=999) for seed in range(3, 6)]
    for batch in model.steps():
        assert len({job.priority for job, _ in batch}) == 1
        if batch[0][0] in last:
            assert not any(job.pending for job in first)


def test_planned_inputs_that_are_no_longer_needed_do_not_run() -> None:
    model = Model()
    jobs = [model.add([30] * 40) for _ in range(3)] + [model.add([30])]
    model.step()
    model.queue.remove(jobs[1])
    taken = model.queue.take_small(SMALL_JOB_TOKENS, 256)
    later = [job for batch in model.steps() for job, _ in batch]
    assert jobs[1] not in later
    assert not {job for job, _ in taken} & set(later)


def test_a_smaller_budget_applies_at_once() -> None:
    model = Model()
    for seed in range(8):
        model.add(documents(20, seed))
    model.step()
    model.budget = 128
    assert all(len(batch) == 1 or computed(batch) <= 128 for batch in model.steps())


@pytest.mark.parametrize("texts", [1, 20])
def test_inputs_are_not_planned_anew_for_each_pass(monkeypatch: pytest.MonkeyPatch, texts: int) -> None:
    """While requests arrive as fast as they are computed; planning for each pass would take 15 times as much."""
    planned = 0

    def counted(lengths: list[int], budget: int, costs: Costs, *, padding_cost: float) -> list[list[int]]:
        nonlocal planned
        planned += len(lengths)
        return plan(lengths, budget, costs, padding_cost=padding_cost)

    monkeypatch.setattr(module, "plan", counted)
    model = Model()
    added = 1000 // texts
    for seed in range(added):
        model.add(documents(texts, seed))
    passes = 0
    for _ in model.steps():
        passes += 1
        while len(model.queue) < 500 // texts and added < 2000 // texts:
            model.add(documents(texts, added))
            added += 1
    assert passes > 50
    assert planned < 3 * 2000


def test_queries_fill_each_pass_while_others_arrive() -> None:
    """64 clients that send a query again as soon as they have an answer."""
    model = Model()
    for number in range(64):
        model.add([8 + number % 10])
    for _ in range(20):
        batch = model.step()
        assert computed(batch) > SHORT - 20
        for job, _ in batch:
            model.add(job.lengths)


def test_queries_run_in_the_order_of_their_arrival() -> None:
    model = Model()
    jobs = [model.add([8 + number % 10]) for number in range(200)]
    assert [job for batch in model.steps() for job, _ in batch] == jobs
