"""The service of the current folder with a stub engine, to measure the front end.

    cd CHECKOUT && PYTHONPATH=.../benchmarks bentoml serve stub_service:RerankEmbedding

It replaces one function, and works with all revisions since b633b23. With several workers, `python -m stub_service` is
the engine process. STUB_PASS_S is the duration of a pass, and STUB_SLOT_S that of each of its tokens, padding included.
STUB_FAST_LANE=true adds a fast lane.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path.cwd()))

from runners import loading  # of the current folder
from service import RerankEmbedding

__all__ = ["RerankEmbedding"]

_PASS_S = float(os.environ.get("STUB_PASS_S", "0"))
_SLOT_S = float(os.environ.get("STUB_SLOT_S", "0"))
_FAST_LANE = os.environ.get("STUB_FAST_LANE") == "true"


class StubBackend:
    """Returns the same row for all texts."""

    name = "stub"
    padding_cost = 1.0
    concurrent_passes = 1
    memory_bytes = 0
    dtype = weights_dtype = "float32"

    def __init__(self, width: int) -> None:
        self._row = np.linspace(-1, 1, width, dtype=np.float32)
        self.beside = self.second_forward = self.forward if _FAST_LANE else None  # the old and the current name

    def forward(self, sequences: Any) -> Any:
        """B sequences -> (B, H) equal rows."""
        seconds = _PASS_S + _SLOT_S * len(sequences) * max(map(len, sequences))
        if seconds:
            time.sleep(seconds)
        return np.tile(self._row, (len(sequences), 1))

    forward_exact = forward

    def outputs(self, sequences: Any, *, exact: bool = False) -> Any:
        """Not measured."""
        raise NotImplementedError

    def pass_bytes(self, _: Any) -> int:
        """Passes need no memory."""
        return 0

    def close(self) -> None:
        """Nothing to release."""


loading.load_backend = lambda _spec, stored, *_: StubBackend(stored.facts.dimensions)

with contextlib.suppress(ImportError):  # earlier revisions have no engine process
    from runners.remote import peer

    peer.ENGINE = "stub_service"

if __name__ == "__main__":
    import engine_process

    sys.exit(engine_process.main())
