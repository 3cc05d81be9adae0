"""An autoscaler like Kubernetes' HorizontalPodAutoscaler, which KEDA uses as well, in simulated time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import simpy

if TYPE_CHECKING:
    from benchmarks.fleet.fleet import Fleet
    from benchmarks.fleet.replica import Steps

TOLERANCE = 0.1
"""The autoscaler's default: it changes nothing if the metric is this close to its target."""
MOST_ADDED = 4
"""Its default: in each period, as many replicas as run, or this many, are added."""

Metric = Literal["queued tokens", "busy share"]
"""`service_queue_tokens`, or the rate of `service_compute_seconds`: the share of time in which a pass runs."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The settings of an autoscaler."""

    metric: Metric = "queued tokens"
    target: float
    """Wanted mean of the metric over the replicas (`averageValue`)."""
    least: int = 1
    most: int = 100
    scrape_s: float = 15.0
    """Interval at which Prometheus reads the metric."""
    sync_s: float = 15.0
    """Interval at which the autoscaler decides."""
    up_s: float = 30.0
    """Stabilisation: the lowest decision of this time counts when replicas are added."""
    down_s: float = 600.0
    """The same for the highest decision, when replicas are removed."""


class Autoscaler:
    """Changes the number of replicas of a fleet."""

    def __init__(self, env: simpy.Environment, fleet: Fleet, scaling: Scaling) -> None:
        self._env = env
        self.fleet = fleet
        self._scaling = scaling
        self.sum = 0.0
        """Sum of the metric over the replicas at the last scrape."""
        self._busy_s = 0.0
        self._decisions: list[tuple[float, int]] = []
        env.process(self._scrape())
        env.process(self._decide())

    def _scrape(self) -> Steps:
        while True:
            yield self._env.timeout(self._scaling.scrape_s)
            if self._scaling.metric == "queued tokens":
                self.sum = sum(replica.queued_tokens for replica in self.fleet.all)
            else:
                before, self._busy_s = self._busy_s, sum(replica.processor.busy_s for replica in self.fleet.all)
                self.sum = (self._busy_s - before) / self._scaling.scrape_s

    def _decide(self) -> Steps:
        while True:
            yield self._env.timeout(self._scaling.sync_s)
            self.fleet.resize(self.stabilised(self.wanted()))

    def wanted(self) -> int:
        """The number of replicas at which the mean of the metric is its target."""
        size = self.fleet.size
        share = self.sum / (self._scaling.target * size)
        wanted = size if abs(share - 1) <= TOLERANCE else math.ceil(self.sum / self._scaling.target)
        return min(max(wanted, self._scaling.least), self._scaling.most)

    def stabilised(self, wanted: int) -> int:
        """The new number of replicas, by the decisions of the last minutes."""
        now, size = self._env.now, self.fleet.size
        kept_s = max(self._scaling.up_s, self._scaling.down_s)
        self._decisions = [each for each in self._decisions if each[0] > now - kept_s] + [(now, wanted)]
        up = min(count for at, count in self._decisions if at > now - self._scaling.up_s)
        down = max(count for at, count in self._decisions if at > now - self._scaling.down_s)
        if up > size:
            return min(up, max(2 * size, size + MOST_ADDED))
        return min(size, down)
