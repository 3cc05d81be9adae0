"""Maximum tokens of a pass: reduced when the device runs out of memory, then raised again step by step."""

from __future__ import annotations

RECOVERY_PASSES = 8
"""Number of full passes that must succeed before a larger one is tried."""
_MOST_RECOVERY_PASSES = 1024
_FULL = 0.5
"""Share of the budget from which a pass counts as full."""


class BatchBudget:
    """Maximum tokens of a pass, at most `learned`. Not thread-safe by itself."""

    def __init__(self, learned: int) -> None:
        self.tokens = learned
        self._learned = learned
        self._passed = 0
        self._needed = RECOVERY_PASSES
        self._trying = False

    def out_of_memory(self, computed: float) -> bool:
        """Halve the budget after a pass of `computed` tokens did not fit. Returns whether the budget shrank.

        Each time a larger size fails, the next attempt waits longer.
        """
        if self._trying:
            self._needed = min(2 * self._needed, _MOST_RECOVERY_PASSES)
        before, self.tokens = self.tokens, max(1, min(self.tokens, int(computed) // 2))
        self._passed, self._trying = 0, False
        return self.tokens < before

    def passed(self, computed: float) -> bool:
        """Record a pass of `computed` tokens that succeeded. Returns whether the budget grew."""
        if computed < _FULL * self.tokens or not (self._trying or self.tokens < self._learned):
            return False
        self._passed += 1
        if self.tokens == self._learned:
            if self._passed >= RECOVERY_PASSES:  # enough memory again
                self._needed, self._trying = RECOVERY_PASSES, False
            return False
        if self._passed < self._needed:
            return False
        self.tokens = min(2 * self.tokens, self._learned)
        self._passed, self._trying = 0, True
        return True
