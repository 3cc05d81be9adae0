"""A simulated fleet: requests, a load balancer, replicas and, if wanted, an autoscaler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import simpy

from benchmarks.fleet.autoscaling import Autoscaler, Scaling
from benchmarks.fleet.balancing import BALANCERS, Balancer
from benchmarks.fleet.constants import Constants
from benchmarks.fleet.replica import Answer, Replica, Steps
from benchmarks.fleet.traffic import Request
from benchmarks.statistics import percentile


class Fleet:
    """Replicas behind one load balancer."""

    def __init__(self, env: simpy.Environment, constants: Constants, balancer: Balancer, replicas: int) -> None:
        self.env = env
        self._constants = constants
        self.balancer = balancer
        self.ready = [Replica(env, constants) for _ in range(replicas)]
        self.all = [*self.ready]
        """Replicas that serve or finish their last requests."""
        self.answers: list[Answer] = []
        self.sizes = [(0.0, replicas)]
        """When the number of replicas changed, those that load included."""
        self._loading = 0
        self._unwanted = 0
        """How many of those that load are no longer wanted."""

    @property
    def size(self) -> int:
        """Number of replicas, those that load included."""
        return len(self.ready) + self._loading - self._unwanted

    def send(self, requests: Sequence[Request]) -> Steps:
        """Send each request when it arrives."""
        for request in requests:
            yield self.env.timeout(request.arrives_s - self.env.now)
            self.env.process(self._serve(request))

    def _serve(self, request: Request) -> Steps:
        replica = self.balancer.choose(self.ready)
        yield from replica.serve(request, self.answers)
        self.balancer.answered(replica)

    def resize(self, size: int) -> None:
        """Start replicas, or stop some: those that load first."""
        change = size - self.size
        if not change:
            return
        revived = min(change, self._unwanted) if change > 0 else 0
        self._unwanted -= revived
        for _ in range(change - revived):
            self._loading += 1
            self.env.process(self._load())
        for _ in range(-change):
            if self._loading > self._unwanted:
                self._unwanted += 1
            else:
                self.ready.pop()
        self.sizes.append((self.env.now, size))

    def _load(self) -> Steps:
        yield self.env.timeout(self._constants.load_s)
        self._loading -= 1
        if self._unwanted:
            self._unwanted -= 1
            return
        replica = Replica(self.env, self._constants)
        self.ready.append(replica)
        self.all.append(replica)


@dataclass(frozen=True)
class Outcome:
    """The answers of a simulation."""

    answers: list[Answer]
    seconds: float
    """Until the last answer."""
    sizes: list[tuple[float, int]]
    """When the number of replicas changed, and the new one."""

    def percentile_s(self, share: float, kind: str, *, queue: bool = False) -> float:
        """Latency, or waiting time in the queue, that `share` of the answers of a kind do not exceed."""
        answers = [answer for answer in self.answers if answer.request.kind == kind and not answer.rejected]
        return percentile([answer.queue_s if queue else answer.latency_s for answer in answers], share)


def simulate(
    constants: Constants,
    requests: Sequence[Request],
    *,
    replicas: int,
    balancer: str = "least connections",
    scaling: Scaling | None = None,
) -> Outcome:
    """Send the requests to a fleet until all have an answer."""
    env = simpy.Environment()
    fleet = Fleet(env, constants, BALANCERS[balancer](env), replicas)
    if scaling is not None:
        Autoscaler(env, fleet, scaling)
    env.process(fleet.send(requests))
    while len(fleet.answers) < len(requests):
        env.step()
    return Outcome(fleet.answers, env.now, fleet.sizes)
