"""The watchdog: models whose pass hangs are given up and loaded anew; where that cannot help, the process is to go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import metrics
from errors import InternalError
from runners.loaded_model import LoadedModel
from runners.pool_entry import Entry

logger = logging.getLogger("service.models")

LONGEST_LOAD_S = 1800.0
"""Seven billion parameters from a slow disk take minutes; a load of half an hour will not end."""
_FATAL_STALLS = 2


class Watchdog:
    """Looks after the models of one pool."""

    def __init__(self) -> None:
        self.alive = True
        """False once only a new process helps: a model hung again after it had been reloaded, or a load hangs."""

    def check(self, entries: Mapping[str, Entry], after_s: float) -> None:
        """Give up models whose pass has been running for `after_s` seconds.

        Their waiters get an error, and the next request loads the model anew.
        """
        for name, entry in entries.items():
            model = entry.model
            if model is not None and model.engine is not None:
                model.engine.report_queue()
                if model.engine.stalled_s >= after_s:
                    self._give_up(name, entry, model, after_s)
            elif self.alive and entry.loading_since is not None:
                loading_s = time.monotonic() - entry.loading_since
                if loading_s >= LONGEST_LOAD_S:
                    self.alive = False
                    logger.error("%s has been loading for %.0f s and keeps all others waiting", name, loading_s)

    def _give_up(self, name: str, entry: Entry, model: LoadedModel, after_s: float) -> None:
        entry.stalls += 1
        entry.task = None
        metrics.MODEL_UNLOADS.labels(name, "hung").inc()
        metrics.MODEL_BYTES.labels(name).set(0)
        self.alive = self.alive and entry.stalls < _FATAL_STALLS
        logger.error("%s has been computing for more than %.0f s and is given up", name, after_s)
        assert model.engine is not None
        model.engine.abort(InternalError(f"{name} stopped answering and is loaded anew. Try again."))
        # waits for the pass, which may come back one day, and gives the memory back then; until then it is not counted,
        # as the model has to find room to be loaded anew
        threading.Thread(target=model.close, name=f"close {name}", daemon=True).start()
