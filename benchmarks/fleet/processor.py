"""The processor or device of a replica, in simulated time."""

from __future__ import annotations

import heapq
import itertools

import simpy


class Processor:
    """Runs passes. If `shared`, those that run at the same time share it equally: of two, each takes twice as long."""

    def __init__(self, env: simpy.Environment, *, shared: bool) -> None:
        self._env = env
        self._shared = shared
        self._running: list[tuple[float, int, simpy.Event]] = []
        """A heap: the work at which a pass ends, its number, and its end."""
        self._numbers = itertools.count()
        self._work = 0.0
        """Seconds that a pass that runs since the beginning would have got."""
        self._changed_s = 0.0
        self._alarm: simpy.Event | None = None
        self.busy_s = 0.0
        """Seconds during which a pass ran."""

    def run(self, seconds: float) -> simpy.Event:
        """A pass that takes this long alone. The event is its end."""
        self._advance()
        end = self._env.event()
        heapq.heappush(self._running, (self._work + seconds, next(self._numbers), end))
        self._set_alarm()
        return end

    def _advance(self) -> None:
        elapsed, self._changed_s = self._env.now - self._changed_s, self._env.now
        if self._running:
            self._work += elapsed / self._slowness
            self.busy_s += elapsed

    @property
    def _slowness(self) -> int:
        return len(self._running) if self._shared else 1

    def _set_alarm(self) -> None:
        """For the next end of a pass, if none begins before it."""
        self._alarm = self._env.timeout(max(0.0, self._running[0][0] - self._work) * self._slowness)
        assert self._alarm.callbacks is not None
        self._alarm.callbacks.append(self._ring)

    def _ring(self, alarm: simpy.Event) -> None:
        if alarm is not self._alarm:
            return
        self._advance()
        self._work, _, end = heapq.heappop(self._running)
        end.succeed()
        if self._running:
            self._set_alarm()
