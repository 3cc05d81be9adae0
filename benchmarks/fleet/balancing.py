"""Which replica a load balancer sends a request to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

import simpy

from benchmarks.fleet.replica import Replica


class Balancer(ABC):
    """One load balancer, which sees all requests."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._turn = 0
        self._connections: Counter[Replica] = Counter()

    def choose(self, replicas: Sequence[Replica]) -> Replica:
        """The replica of the next request, among those that are ready: the least loaded, of equal ones the next."""
        self._turn += 1
        turn = self._turn % len(replicas)
        chosen = min([*replicas[turn:], *replicas[:turn]], key=self._load)
        self._connections[chosen] += 1
        return chosen

    def answered(self, replica: Replica) -> None:
        """Record the end of a request."""
        self._connections[replica] -= 1

    @abstractmethod
    def _load(self, replica: Replica) -> float: ...


class RoundRobin(Balancer):
    """Each replica in turn, whatever it has to do."""

    def _load(self, _: Replica) -> float:
        return 0


class LeastConnections(Balancer):
    """The replica with the fewest requests that have no answer yet (HAProxy: `balance leastconn`)."""

    def _load(self, replica: Replica) -> float:
        return self._connections[replica]


class LeastQueuedTokens(Balancer):
    """The replica with the fewest waiting tokens, by a metric that is read at intervals, as proxies that follow
    metrics do (Gateway API's inference extension: 50 ms)."""

    interval_s = 0.05

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__(env)
        self._read: dict[Replica, tuple[float, int]] = {}

    def _load(self, replica: Replica) -> float:
        read_s, tokens = self._read.get(replica, (-self.interval_s, 0))
        if self._env.now - read_s >= self.interval_s:
            tokens = replica.queued_tokens
            self._read[replica] = (self._env.now, tokens)
        return tokens


BALANCERS: dict[str, type[Balancer]] = {
    "round robin": RoundRobin,
    "least connections": LeastConnections,
    "least queued tokens": LeastQueuedTokens,
}
