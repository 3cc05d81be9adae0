"""The watchdog reloads models that hang or have lost their device; if that fails, the process must be restarted."""

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
"""Loading 7 billion parameters from a slow disk takes minutes; a load of half an hour hangs."""
FORGET_FAULT_S = 3600.0
"""A fault this long ago no longer counts."""
_FATAL_FAULTS = 2


class Watchdog:
    """Watches the models of one pool."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.alive = True
        """False if only a restart helps: a model failed again after a reload, or a load hangs."""
        self._clock = clock

    def check(self, entries: Mapping[str, Entry], after_s: float) -> None:
        """Abandon models with a pass that hangs (for at least `after_s` seconds) or with a lost device.

        Their pending requests fail, and the next request loads the model again.
        """
        for name, entry in entries.items():
            model = entry.model
            if model is not None and model.compute is not None:
                model.compute.report_queue()
                if model.compute.overdue(after_s):
                    self._abandon(name, entry, model, "a pass takes far longer than expected for its size", "hung")
                elif model.compute.lost:
                    self._abandon(name, entry, model, "its device fails every pass", "lost")
            elif self.alive and entry.loading_since is not None:
                loading_s = self._clock() - entry.loading_since
                if loading_s >= LONGEST_LOAD_S:
                    self._die(f"{name} has been loading for {loading_s:.0f} s and blocks all other loads")

    def load_failed(self, name: str, entry: Entry) -> None:
        """Handle a load that failed in the engine: after a recent fault, this process has lost the device."""
        if entry.faults and not self._is_old(entry):
            self._die(f"{name} failed and cannot be loaded again")

    def _abandon(self, name: str, entry: Entry, model: LoadedModel, why: str, reason: str) -> None:
        entry.faults = 1 if self._is_old(entry) else entry.faults + 1
        entry.faulted_at = self._clock()
        entry.task = None
        metrics.MODEL_UNLOADS.labels(name, reason).inc()
        metrics.MODEL_BYTES.labels(name).set(0)
        logger.error("abandoning %s: %s", name, why)
        if entry.faults >= _FATAL_FAULTS:
            self._die(f"{name} failed again after it was reloaded")
        model.abort(InternalError(f"{name} stopped responding and is being reloaded. Try again."))
        # waits for the pass, which may end some day, then frees the memory; this memory is not counted meanwhile, so
        # that the model can be loaded again
        threading.Thread(target=_close, args=(model,), name=f"close {name}", daemon=True).start()

    def _is_old(self, entry: Entry) -> bool:
        return self._clock() - entry.faulted_at > FORGET_FAULT_S

    def _die(self, why: str) -> None:
        if self.alive:
            logger.error("this process must be restarted and reports that it is not alive: %s", why)
        self.alive = False


def _close(model: LoadedModel) -> None:
    try:
        model.close()
    except Exception:  # a lost driver may raise anything
        logger.exception("closing %s failed", model.name)
