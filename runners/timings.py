"""What a request spends its time on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Timings:
    """Seconds in each stage: tokenising, waiting for its turns, and in forward passes."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0

    def stages(self) -> dict[str, float]:
        """Name of each stage -> its seconds, in the order in which they begin."""
        return {"tokenize": self.tokenize_s, "queue": self.queue_s, "compute": self.compute_s}

    def add(self, other: Timings) -> None:
        """For a request that is computed in two parts."""
        self.tokenize_s += other.tokenize_s
        self.queue_s += other.queue_s
        self.compute_s += other.compute_s
