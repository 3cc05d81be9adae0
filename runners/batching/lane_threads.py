"""The threads of a batcher: main lanes, and the fast lane for short requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from runners.backends import Rows
from runners.batching.queue import Batch, Clock
from runners.pool.memory import Reservation
from runners.text.tokenization import Sequence

Run = Callable[[list[Sequence]], Rows]
"""N sequences in, N rows out, in order."""

SMALL_JOB_TOKENS = 128
"""A search query or a short passage: what may take the fast lane."""
FAST_LANE_TOKENS = 256
"""Tokens of one pass there: short texts that arrive together stay together."""
LARGE_JOB_TOKENS = 512
"""A job from this size on is worth stepping past; many small ones are better served together."""

SLOWNESS = 10.0
"""A pass that takes longer than so many times the expected time hangs; other work may take most of the processor."""


@dataclass(eq=False)
class Lane:
    """A thread with a network of its own, and what it is doing."""

    run: Run
    wake: threading.Condition
    """Told when there may be something to do; all lanes' conditions share the batcher's lock."""
    clock: Clock
    fast: bool = False
    running: Batch = field(default_factory=list)
    since: float | None = None
    expected_s: float = 0.0
    """How long the current pass should take."""
    reservation: Reservation | None = None
    """Memory of the current pass."""
    thread: threading.Thread | None = None

    def compute(self, sequences: list[Sequence], expected_s: float) -> Rows:
        """One pass, with its start noted for the watchdog."""
        self.expected_s = expected_s
        self.since = self.clock()
        try:
            return self.run(sequences)
        finally:
            self.since = None

    def overdue(self, at_least_s: float) -> bool:
        """Whether the current pass has been running for SLOWNESS times the expected time, and `at_least_s` seconds."""
        since = self.since
        return since is not None and self.clock() - since >= max(at_least_s, SLOWNESS * self.expected_s)
