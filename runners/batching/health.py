"""Whether a model's device still works: after failures in a row, an input that is known to be good decides."""

from __future__ import annotations

import logging
from collections.abc import Callable

from errors import ServiceError
from runners.backends import OutOfMemoryError
from runners.text.tokenization import Sequence

logger = logging.getLogger("service.engine")

FAILURES = 5
"""Failed passes in a row after which the device is checked."""


class Health:
    """Counts the failed passes of one model. `trial` is a text that was computed when the model was loaded."""

    def __init__(self, name: str, trial: Sequence | None) -> None:
        self._name = name
        self._trial = trial
        self._failures = 0
        self.lost = False
        """Whether the trial failed, too: no pass will go well any more."""

    def passed(self) -> None:
        """A pass went well."""
        self._failures = 0

    def failed(self, error: BaseException, run: Callable[[list[Sequence]], object]) -> None:
        """A pass raised `error`; `run` computes the trial where that is one failure too many.

        What is wrong with an input (ServiceError, of NaN) and a lack of memory say nothing about the device.
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
            logger.error(  # without a traceback: the driver's own words say it
                "%s failed %d passes in a row and cannot compute a trial text either: %s: %s",
                self._name,
                FAILURES,
                type(trial_error).__name__,
                str(trial_error).partition("\n")[0],
            )
