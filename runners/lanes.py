"""The threads of a batcher: main lanes, and the fast lane for short requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from runners.backends import Rows
from runners.jobs import Batch
from runners.tokenization import Sequence

Run = Callable[[list[Sequence]], Rows]
"""N sequences in, N rows out, in order."""

SMALL_JOB_TOKENS = 128
"""A search query or a short passage: what may take the fast lane."""
FAST_LANE_TOKENS = 256
"""Tokens of one pass there: short texts that arrive together stay together."""
LARGE_JOB_TOKENS = 512
"""A job from this size on is worth stepping past; many small ones are better served together."""


@dataclass(eq=False)
class Lane:
    """A thread with a network of its own, and what it is doing."""

    run: Run
    wake: threading.Condition
    """Told when there may be something to do; all lanes' conditions share the batcher's lock."""
    running: Batch = field(default_factory=list)
    since: float | None = None
    thread: threading.Thread | None = None

    def compute(self, sequences: list[Sequence]) -> Rows:
        """One pass, with its start noted for the watchdog."""
        self.since = time.monotonic()
        try:
            return self.run(sequences)
        finally:
            self.since = None
