"""One replica: the front end of the service, its queue and its passes, in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import cast

import simpy

from benchmarks.fleet.constants import Constants
from benchmarks.fleet.processor import Processor
from benchmarks.fleet.traffic import Request
from runners.batching.batch_budget import BatchBudget
from runners.batching.lane_threads import Lane
from runners.batching.queue import Batch, Job
from runners.batching.schedule import Schedule
from runners.batching.throughput import batch_shape
from runners.contracts import Results, TokenSequence

Steps = Generator[simpy.Event, object, None]


@dataclass(frozen=True)
class Answer:
    """When a request was answered, and how long it waited for its passes."""

    request: Request
    answered_s: float
    queue_s: float
    rejected: bool = False

    @property
    def latency_s(self) -> float:
        """Time from the request to its answer."""
        return self.answered_s - self.request.arrives_s


@dataclass(eq=False)
class _Job(Job):
    """Its future is never awaited; `done` is its end."""

    done: simpy.Event = field(kw_only=True)


@dataclass(eq=False, kw_only=True)
class _SimulatedLane(Lane):
    wake: simpy.Event


_TEXTS = [TokenSequence([0] * length) for length in range(513)]
"""A text of each length; longer ones are cut."""


class Replica:
    """A service process with one model."""

    def __init__(self, env: simpy.Environment, constants: Constants) -> None:
        self._env = env
        self._constants = constants
        self._event_loops = simpy.Resource(env, constants.workers)
        self.processor = Processor(env, shared=constants.shared_cores)
        self._owed_s = 0.0
        """Time that the event loop took from a core since the last pass began; all threads of a pass wait for it."""
        fast = self._lane() if constants.passes.fast_lane else None
        self._schedule = Schedule(
            constants.options,
            constants.passes.costs,
            BatchBudget(constants.passes.max_batch_tokens),
            main=[self._lane()],
            fast=fast,
            clock=lambda: env.now,
        )
        for lane in self._schedule.lanes:
            env.process(self._work(lane))

    def _lane(self) -> _SimulatedLane:
        return _SimulatedLane(wake=self._env.event())

    @property
    def queued_tokens(self) -> int:
        """The service's metric `service_queue_tokens`."""
        return self._schedule.queue.tokens

    def serve(self, request: Request, answers: list[Answer]) -> Steps:
        """Append the answer to a request."""
        with self._event_loops.request() as turn:
            yield turn
            yield self._env.timeout(self._front_end_s(request))
        job = _Job(
            [_TEXTS[min(length, len(_TEXTS) - 1)] for length in request.lengths],
            cast(asyncio.Future[Results], None),
            cast(asyncio.AbstractEventLoop, None),
            done=self._env.event(),
        )
        if not self._schedule.admits(job):
            answers.append(Answer(request, self._env.now, 0.0, rejected=True))
            return
        admitted_s = self._env.now
        self._schedule.queue.add(job)
        self._wake_ready()
        yield job.done
        answers.append(Answer(request, self._env.now, self._env.now - admitted_s - job.compute_s))

    def _front_end_s(self, request: Request) -> float:
        seconds = self._constants.request_s + len(request.lengths) * self._constants.text_s
        if self._constants.shared_cores:
            self._owed_s += seconds
        return seconds

    def _wake_ready(self) -> None:
        for lane in self._schedule.ready():
            if not lane.wake.triggered:
                lane.wake.succeed()

    def _work(self, lane: _SimulatedLane) -> Steps:
        """What a thread of the batcher does."""
        while True:
            while not (batch := self._schedule.next(lane)):
                lane.wake = self._env.event()
                yield lane.wake
            lane.start(batch)
            self._wake_ready()
            started_s = self._env.now
            seconds, self._owed_s = self._constants.passes.costs.of(batch_shape(batch)) + self._owed_s, 0.0
            yield self.processor.run(seconds)
            self._finish(batch, self._env.now - started_s)
            lane.start([])

    @staticmethod
    def _finish(batch: Batch, seconds: float) -> None:
        for job in dict.fromkeys(job for job, _ in batch):
            job.compute_s += seconds
        for job, _ in batch:
            job.remaining -= 1
            if not job.remaining:
                assert isinstance(job, _Job)
                job.done.succeed()
