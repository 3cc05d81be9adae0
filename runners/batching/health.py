"""Whether a model's device still works: after several failures in a row, a known good input is tried."""

from __future__ import annotations

import logging
from collections.abc import Callable

from errors import ServiceError
from runners.contracts import OutOfMemoryError, TokenSequence, TokenSequences

logger = logging.getLogger("service.engine")

FAILURES = 5
"""Failed passes in a row after which the device is checked."""


class Health:
    """Counts the failed passes of one model. `trial` is an input that was computed at load."""

    def __init__(self, name: str, trial: TokenSequence | None) -> None:
        self._name = name
        self._trial = trial
        self._failures = 0
        self.lost = False
        """Whether the trial failed as well, so that the device is considered broken."""

    def passed(self) -> None:
        """Record a pass that succeeded."""
        self._failures = 0

    def failed(self, error: BaseException, run: Callable[[TokenSequences], object]) -> None:
        """Record a pass that raised `error`. After FAILURES in a row, `run` computes the trial.

        Invalid inputs (ServiceError, for NaN) and a lack of memory do not count.
        """
        if isinstance(error, ServiceError | OutOfMemoryError) or self._trial is None or self.lost:
            return
        self._failures += 1
        if self._failures < FAILURES:
            return
        self._failures = 0
        try:
            run([self._trial])
        except OutOfMemoryError:
            pass
        except Exception as trial_error:
            self.lost = True
            logger.error(  # without a traceback: the driver's message suffices
                "%s failed %d passes in a row and the trial text as well: %s: %s",
                self._name,
                FAILURES,
                type(trial_error).__name__,
                str(trial_error).partition("\n")[0],
            )
