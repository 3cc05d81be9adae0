"""A pool over models that weigh ten bytes each, and a loader that keeps the books."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from models.catalog import Catalog, ModelSpec
from models.store import StoredModel
from runners.batching.costs import Costs
from runners.contracts import Rows, TokenSequences
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.pool.memory import DeviceMemory, PassMemory
from runners.pool.model_pool import ModelPool
from tests.unit.fakes import PATIENCE_S, Clock, facts, make_engine, spec
from tests.unit.runners.faulty_backend import FaultyBackend, answer_of, text

WEIGHT = 10
TRIAL = 99_999
"""First id of the text that is computed where a device may be lost."""
SPECS = [spec(name=f"model-{number}", repo=f"acme/{number}") for number in range(6)]


class Shelf:
    """Loads models, and knows how many there are at any time."""

    work = Path("/dev/null/imports")

    def __init__(self, room: int, clock: Clock | None = None) -> None:
        self.loads: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()
        self.order: list[str] = []
        """`+name` for each load, `-name` for each end, in order."""
        self.most = 0
        """Models that were in memory or on their way at one time."""
        self.backends: dict[str, FaultyBackend] = {}
        """The last one of each model."""
        self.failure: Exception | None = None
        self.costs: Costs | None = None
        """Measured at load."""
        self.pass_s = 0.0
        """How long a pass takes on the test's clock."""
        self.gate = threading.Event()
        self.gate.set()
        self._loaded = 0
        self._lock = threading.Lock()
        store: Any = self
        self.pool = ModelPool(
            Catalog(SPECS),
            store,
            load=self._load,
            import_model=None,
            unavailable_reason=lambda _: None,
            memory_needed=lambda _: WEIGHT,
            memory_budget=room * WEIGHT,
            clock=clock or time.monotonic,
        )
        self.clock = clock

    def find(self, wanted: ModelSpec) -> StoredModel:
        """The store: it has everything."""
        return StoredModel(wanted.repo, Path("/nowhere"), facts(repo=wanted.repo))

    @property
    def names(self) -> list[str]:
        """What is loaded."""
        return sorted(model.name for model in self.pool.loaded())

    async def ask(self, number: int, wanted: ModelSpec) -> list[float]:
        """One request to one model; the answer is checked."""
        async with self.pool.use(wanted) as model:
            assert model.engine is not None
            rows = await model.engine.run([text(number)])
        assert rows.tolist() == [answer_of(number)]
        answer: list[float] = rows.tolist()[0]
        return answer

    def release(self) -> None:
        """Let everything through, so that threads can end."""
        self.gate.set()
        for backend in self.backends.values():
            backend.release()

    def _load(self, wanted: ModelSpec, stored: StoredModel | None, *, memory: DeviceMemory) -> LoadedModel:
        with self._lock:
            self.loads[wanted.name] += 1
            self.order.append(f"+{wanted.name}")
            self._loaded += 1
            self.most = max(self.most, self._loaded)
        assert self.gate.wait(PATIENCE_S)
        if self.failure is not None:
            with self._lock:
                self._loaded -= 1
            raise self.failure
        backend = self.backends[wanted.name] = Shelved(self, wanted.name)
        engine = make_engine(
            backend,
            name=wanted.name,
            trial=text(TRIAL),
            costs=self.costs,
            memory=PassMemory(memory, backend.pass_bytes, model_bytes=WEIGHT),
            clock=self.clock or time.monotonic,
        )
        return LoadedModel(wanted, EmbeddingRunner(engine, 3), "fake", stored, engine, WEIGHT, compute=engine.local)

    def closed(self, name: str) -> None:
        """A backend gave its memory back."""
        with self._lock:
            self.closes[name] += 1
            self.order.append(f"-{name}")
            self._loaded -= 1


class Shelved(FaultyBackend):
    """Tells the shelf of its end."""

    def __init__(self, shelf: Shelf, name: str) -> None:
        super().__init__()
        self._shelf = shelf
        self._name = name
        self.close_failure: Exception | None = None

    def forward(self, sequences: TokenSequences) -> Rows:
        rows = super().forward(sequences)
        if self._shelf.clock is not None:
            self._shelf.clock.now += self._shelf.pass_s
        return rows

    def close(self) -> None:
        super().close()
        self._shelf.closed(self._name)
        if self.close_failure is not None:
            raise self.close_failure
