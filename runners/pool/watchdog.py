"""The watchdog: models that hang or lost their device are loaded anew; where that cannot help, the process is to go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import metrics
from errors import InternalError
from runners.batching.queue import Clock
from runners.loaded_model import LoadedModel
from runners.pool.entry import Entry

logger = logging.getLogger("service.models")

LONGEST_LOAD_S = 1800.0
"""Seven billion parameters from a slow disk take minutes; a load of half an hour will not end."""
FORGET_FAULT_S = 3600.0
"""A model that has worked this long since it was loaded anew may be loaded anew once more."""
_FATAL_FAULTS = 2


class Watchdog:
    """Looks after the models of one pool."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.alive = True
        """False once only a new process helps: a model failed again after it had been loaded anew, or a load hangs."""
        self._clock = clock

    def check(self, entries: Mapping[str, Entry], after_s: float) -> None:
        """Give up models whose pass hangs (not before `after_s` seconds), and those that lost their device.

        Their waiters get an error, and the next request loads the model anew.
        """
        for name, entry in entries.items():
            model = entry.model
            if model is not None and model.engine is not None:
                model.engine.report_queue()
                if model.engine.overdue(after_s):
                    self._give_up(name, entry, model, "a pass takes far longer than its size explains", "hung")
                elif model.engine.lost:
                    self._give_up(name, entry, model, "its device fails every pass", "lost")
            elif self.alive and entry.loading_since is not None:
                loading_s = self._clock() - entry.loading_since
                if loading_s >= LONGEST_LOAD_S:
                    self._die(f"{name} has been loading for {loading_s:.0f} s and keeps all others waiting")

    def load_failed(self, name: str, entry: Entry) -> None:
        """A load failed in the engine: after a fault that means that the device is gone for this process."""
        if entry.faults and not self._is_old(entry):
            self._die(f"{name} was given up and cannot be loaded anew")

    def _give_up(self, name: str, entry: Entry, model: LoadedModel, why: str, reason: str) -> None:
        entry.faults = 1 if self._is_old(entry) else entry.faults + 1
        entry.faulted_at = self._clock()
        entry.task = None
        metrics.MODEL_UNLOADS.labels(name, reason).inc()
        metrics.MODEL_BYTES.labels(name).set(0)
        logger.error("%s is given up: %s", name, why)
        if entry.faults >= _FATAL_FAULTS:
            self._die(f"{name} failed again after it had been loaded anew")
        assert model.engine is not None
        model.engine.abort(InternalError(f"{name} stopped answering and is loaded anew. Try again."))
        # waits for the pass, which may come back one day, and gives the memory back then; until then it is not counted,
        # as the model has to find room to be loaded anew
        threading.Thread(target=_close, args=(model,), name=f"close {name}", daemon=True).start()

    def _is_old(self, entry: Entry) -> bool:
        return self._clock() - entry.faulted_at > FORGET_FAULT_S

    def _die(self, why: str) -> None:
        if self.alive:
            logger.error("this process reports that it is not alive, as only a new one helps: %s", why)
        self.alive = False


def _close(model: LoadedModel) -> None:
    try:
        model.close()
    except Exception:  # what a driver that is gone raises
        logger.exception("closing %s failed", model.name)
