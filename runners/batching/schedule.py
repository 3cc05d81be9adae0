"""Which lane of a model runs what next, and when: the decisions of the batcher, without its threads.

The simulation `benchmarks/fleet` runs the same decisions on a simulated clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from runners.batching.batch_budget import BatchBudget
from runners.batching.costs import Costs
from runners.batching.lane_threads import FAST_LANE_TOKENS, SMALL_JOB_TOKENS, Lane
from runners.batching.options import BatchingOptions
from runners.batching.planner import Planner
from runners.batching.queue import Batch, Clock, Job, Queue

L = TypeVar("L", bound=Lane)


class Schedule(Generic[L]):
    """The queue of a model and its lanes. Not thread-safe by itself."""

    def __init__(
        self,
        options: BatchingOptions,
        costs: Costs,
        budget: BatchBudget,
        *,
        main: Sequence[L],
        fast: L | None,
        clock: Clock,
    ) -> None:
        self.lanes = [*main] if fast is None else [*main, fast]
        self.queue = Queue(clock)
        self._main = main
        self._fast = fast
        self._budget = budget
        self._clock = clock
        self._most = options.max_queued_tokens
        self._planner = Planner(
            costs,
            options.padding_cost,
            short_pass_tokens=options.short_pass_tokens or options.max_batch_tokens,
            has_fast_lane=fast is not None,
            clock=clock,
        )

    def admits(self, job: Job) -> bool:
        """Whether the queue has room for a job. An empty queue has, whatever the size of the job."""
        return not self.queue.tokens or self.queue.tokens + job.tokens <= self._most

    def next(self, lane: L) -> Batch:
        """Take the lane's next batch from the queue; empty if the lane has to wait."""
        if lane is not self._fast:
            return self._planner.take(self.queue, self._budget.tokens) if self._may_start(lane) else []
        return self.queue.take_small(SMALL_JOB_TOKENS, FAST_LANE_TOKENS) if self._runs_large() else []

    def ready(self) -> list[L]:
        """The lanes that have work: at most one main lane, because it takes as much as fits, and the fast lane.

        The others are not woken, because each needless wake makes all threads wait for the GIL.
        """
        idle = next((lane for lane in self._main if not lane.running), None)
        found = [idle] if idle is not None and self._may_start(idle) else []
        if self._fast is not None and self._runs_large() and self.queue.has_fresh(range(SMALL_JOB_TOKENS + 1)):
            found.append(self._fast)
        return found

    def clear(self) -> list[Job]:
        """Empty the queue. Returns the jobs that were waiting."""
        waiting = list(self.queue.jobs())
        self.queue = Queue(self._clock)
        return waiting

    def _may_start(self, lane: L) -> bool:
        """A second pass is launched early only if it is full."""
        busy = any(other.running for other in self._main if other is not lane)
        return len(self.queue) > 0 and (not busy or self.queue.tokens >= self._budget.tokens)

    def _runs_large(self) -> bool:
        return any(lane.large for lane in self._main)
