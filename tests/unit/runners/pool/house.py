"""A pool over a store, a loader and an importer that tests can hold, fail and look into."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from models.catalog import Catalog, ModelSpec
from models.store import StoredModel
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.pool.memory import DeviceMemory
from runners.pool.model_pool import ModelPool
from tests.unit.fakes import PATIENCE_S, Clock, FakeBackend, facts, make_engine, spec

TINY, OTHER = spec(), spec(name="other", repo="acme/Other")
FAR = spec(name="far", repo="Cohere/far", kind="reranker", conversion="cohere")


class FakeStore:
    """Holds the models that were put in. Nothing can be written to its folder: there are no other workers."""

    work = Path("/dev/null/imports")

    def __init__(self, *repos: str) -> None:
        self.repos = set(repos)

    def find(self, wanted: ModelSpec) -> StoredModel | None:
        return (
            StoredModel(wanted.repo, Path("/nowhere"), facts(repo=wanted.repo)) if wanted.repo in self.repos else None
        )


class Loader:
    """Counts loads; waits where it is gated, fails where it is told to."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.disconnect: Callable[[], Awaitable[None]] | None = None

    def __call__(self, wanted: ModelSpec, stored: StoredModel | None, *, memory: DeviceMemory) -> LoadedModel:
        self.loads.append(wanted.name)
        assert self.gate.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        engine = make_engine(FakeBackend())
        return LoadedModel(wanted, EmbeddingRunner(engine, 3), "fake", stored, engine, disconnect=self.disconnect)


class Importer:
    """Puts a model into the store, when let."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.imports: list[str] = []
        self.gate = asyncio.Event()
        self.report: Callable[[float], None] = lambda _: None
        self.failure: Exception | None = None
        self.stores = True
        self.dies_late = False
        """Whether the model is in the store before the import fails."""

    async def __call__(self, wanted: ModelSpec, report: Callable[[float], None]) -> None:
        self.imports.append(wanted.name)
        self.report = report
        await self.gate.wait()
        if self.dies_late:
            self.store.repos.add(wanted.repo)
        if self.failure is not None:
            raise self.failure
        if self.stores:
            self.store.repos.add(wanted.repo)


class House:
    """A pool and everything around it."""

    def __init__(self, *, imports: bool = True) -> None:
        self.unavailable_reason: str | None = None
        self.incomplete = False
        self.store = FakeStore()
        self.load = Loader()
        self.importer = Importer(self.store)
        self.clock = Clock()
        store: Any = self.store
        self.pool = ModelPool(
            Catalog([TINY, OTHER, FAR]),
            store,
            load=self.load,
            import_model=self.importer if imports else None,
            unavailable_reason=lambda _: self.unavailable_reason,
            needs_export=lambda _: self.incomplete,
            clock=self.clock,
        )

    async def use(self, wanted: ModelSpec = TINY) -> str:
        """One request to a model; the name of the model that it got."""
        async with self.pool.use(wanted) as model:
            return model.name

    async def close(self) -> None:
        """Let everything through, and end."""
        self.load.gate.set()
        self.importer.gate.set()
        await self.pool.close()
