"""Which inputs run next: those of several requests are planned together, so that texts of one length share a pass."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from runners.batching.costs import Costs
from runners.batching.lane_threads import SMALL_JOB_TOKENS
from runners.batching.planning import plan
from runners.batching.queue import Batch, Clock, Job, Queue
from runners.contracts import BatchShape

PLANNED_TEXTS = 256
"""Largest number of inputs that are planned at a time, under the lock of the batcher: it takes about 3 us for each."""
SIZES_PASSES = (0.5, 4)
"""Sizes of jobs that are too large for a fast lane: up to half a full pass, up to four, and more."""
RECENT_S = 0.5
"""After a job has run, jobs of its size are expected for this time."""


class _Standing(NamedTuple):
    """Jobs of equal standing are planned together; much larger jobs apart, so that smaller ones end soon."""

    priority: int
    size: int
    """0: small enough for a fast lane; the others: SIZES_PASSES."""

    @classmethod
    def of(cls, job: Job, budget: int) -> _Standing:
        return cls(job.priority, sum(job.tokens > most for most in _largest(budget)))


def _largest(budget: int) -> tuple[int, ...]:
    """Tokens of the largest job of each size but the last."""
    return (SMALL_JOB_TOKENS, *(max(SMALL_JOB_TOKENS, int(passes * budget)) for passes in SIZES_PASSES))


class _Plan(NamedTuple):
    """Batches to come, short inputs first, of at most `tokens` computed tokens."""

    batches: list[Batch]
    tokens: int

    def pop(self, lead: Job) -> Batch:
        """Remove and return the first batch with inputs of `lead` that still wait; empty if there is none."""
        for place, batch in enumerate(self.batches):
            if any(job is lead and index in job.pending for job, index in batch):
                del self.batches[place]
                return [(job, index) for job, index in batch if index in job.pending]
        return []


class Planner:
    """Takes one batch after another from the queue of a model.

    The job whose turn it is determines the batch. A small job runs at once, with others in the order of their turns.
    Larger ones run by a plan, which is used until such a job is not in it, for example because it has just arrived.
    """

    def __init__(
        self, costs: Costs, padding_cost: float, *, short_pass_tokens: int, has_fast_lane: bool, clock: Clock
    ) -> None:
        self._costs = costs
        self._padding_cost = padding_cost
        self._short_pass_tokens = short_pass_tokens
        self._least = SMALL_JOB_TOKENS + 1 if has_fast_lane else 0
        """Tokens of the smallest job that no fast lane takes."""
        self._clock = clock
        self._ran = [-RECENT_S] * (2 + len(SIZES_PASSES))
        """When jobs of each size that no fast lane takes last ran."""
        self._plans: dict[_Standing, _Plan] = {}

    def take(self, queue: Queue, budget: int) -> Batch:
        """Remove the next batch, of at most `budget` computed tokens, from a queue that is not empty."""
        lead = next(queue.jobs())
        standing = _Standing.of(lead, budget)
        most = self._pass_tokens(queue, standing.size, budget)
        if standing.size:
            batch = self._planned(queue, lead, standing, budget, most)
        else:
            equals = (job for job in queue.jobs() if job.priority == lead.priority)
            batch = self._fill(islice(equals, PLANNED_TEXTS), most)
        if lead.tokens >= self._least:
            self._ran[standing.size] = self._clock()
        queue.take(batch, lead)
        if not queue:
            self._plans.clear()
        return batch

    def _pass_tokens(self, queue: Queue, size: int, budget: int) -> int:
        """Largest pass for a job of this size.

        Wide passes need less time for each text, but others wait for them. So passes are short while a smaller job
        waits, or ran lately, that no fast lane takes.
        """
        smaller = range(self._least, _largest(budget)[size - 1] + 1)
        if not size or queue.has_fresh(smaller) or max(self._ran[:size]) > self._clock() - RECENT_S:
            return min(budget, self._short_pass_tokens)
        return budget

    def _fill(self, jobs: Iterable[Job], most: int) -> Batch:
        """Inputs of the first job, and of the others while that costs less than a pass of their own."""
        batch: Batch = []
        size = BatchShape(0, 0, 0)
        for job in jobs:
            for index in job.pending:
                length = job.lengths[index]
                more = BatchShape(1, length, length)
                both = size + more
                if batch and both.computed(self._padding_cost) > most:
                    return batch
                if batch and self._costs.of(both) > self._costs.of(size) + self._costs.of(more):
                    break
                batch.append((job, index))
                size = both
        return batch

    def _planned(self, queue: Queue, lead: Job, standing: _Standing, budget: int, most: int) -> Batch:
        made = self._plans.get(standing)
        batch = made.pop(lead) if made is not None and made.tokens == most else []
        if not batch:
            equals = (job for job in queue.jobs() if _Standing.of(job, budget) == standing)
            made = self._plans[standing] = self._plan(list(islice(equals, PLANNED_TEXTS)), most)
            batch = made.pop(lead)
        return batch

    def _plan(self, jobs: list[Job], most: int) -> _Plan:
        """Plan the same number of inputs of each job, the short ones first."""
        share = max(1, PLANNED_TEXTS // len(jobs))
        inputs = [each for job in jobs for each in islice(job.waits(), share)]
        lengths = [job.lengths[index] for job, index in inputs]
        chunks = plan(lengths, most, self._costs, padding_cost=self._padding_cost)
        return _Plan([[inputs[place] for place in chunk] for chunk in chunks], most)
