"""The threads of a batcher: main lanes, and the fast lane for short requests."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from runners.batching.queue import Batch, Clock
from runners.contracts import Results, Run, TokenSequences
from runners.pool.memory import Reservation

SMALL_JOB_TOKENS = 128
"""Largest job that may take the fast lane: a search query or a short passage."""
FAST_LANE_TOKENS = 256
"""Tokens of one pass in the fast lane, so that short texts that arrive together are computed together."""
LARGE_JOB_TOKENS = 512
"""Smallest job that others may overtake in the fast lane; many small jobs are faster in one batch."""
LARGE_PASS_TOKENS = 1024
"""Smallest pass that others may overtake, whatever its jobs."""

SLOWNESS = 10.0
"""A pass that takes this many times the expected time is stuck; other work may use most of the processor."""


@dataclass(eq=False, kw_only=True)
class Lane:
    """What runs one pass at a time."""

    running: Batch = field(default_factory=list)
    large: bool = False
    """Whether the fast lane may overtake the running pass."""

    def start(self, batch: Batch) -> None:
        """Record the pass that runs next; an empty one: none."""
        self.running = batch
        self.large = (
            any(job.tokens >= LARGE_JOB_TOKENS for job, _ in batch)
            or sum(job.lengths[index] for job, index in batch) >= LARGE_PASS_TOKENS
        )


@dataclass(eq=False)
class LaneThread(Lane):
    """A worker thread with its own network, and the pass that it runs."""

    run: Run
    wake: threading.Condition
    """Notified when there may be work. All lanes' conditions share the batcher's lock."""
    clock: Clock
    fast: bool = False
    since: float | None = None
    expected_s: float = 0.0
    """Expected duration of the current pass."""
    reservation: Reservation | None = None
    """Memory reserved for the current pass."""
    thread: threading.Thread | None = None

    def compute(self, sequences: TokenSequences, expected_s: float) -> Results:
        """Run one pass and record its start for the watchdog."""
        self.expected_s = expected_s
        self.since = self.clock()
        try:
            return self.run(sequences)
        finally:
            self.since = None

    def overdue(self, at_least_s: float) -> bool:
        """Whether the current pass exceeds both SLOWNESS times its expected time and `at_least_s`."""
        since = self.since
        return since is not None and self.clock() - since >= max(at_least_s, SLOWNESS * self.expected_s)
