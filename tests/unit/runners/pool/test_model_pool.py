"""The pool: one load however many ask, failures told to all and not repeated at once, states that are true."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from errors import ModelUnavailableError, ServiceError, ShuttingDownError
from models.catalog import Catalog, ModelSpec
from models.store import StoredModel
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel, Status
from runners.pool.memory import DeviceMemory
from runners.pool.model_pool import RETRY_FAILED_AFTER_S, ModelPool
from tests.unit.fakes import PATIENCE_S, Clock, FakeBackend, facts, make_engine, spec, until

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

    def __init__(self) -> None:
        self.unavailable_reason: str | None = None
        self.incomplete = False
        self.store = FakeStore()
        self.load = Loader()
        self.importer = Importer(self.store)
        self.pools: list[ModelPool] = []
        self.clock = Clock()

    def pool(self, *, imports: bool = True) -> ModelPool:
        store: Any = self.store
        importer = self.importer if imports else None
        self.pools.append(
            ModelPool(
                Catalog([TINY, OTHER, FAR]),
                store,
                load=self.load,
                import_model=importer,
                unavailable_reason=lambda _: self.unavailable_reason,
                needs_export=lambda _: self.incomplete,
                clock=self.clock,
            )
        )
        return self.pools[-1]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    built = House()
    yield built
    built.load.gate.set()
    for pool in built.pools:
        await pool.close()


async def name_of(pool: ModelPool, wanted: ModelSpec = TINY) -> str:
    async with pool.use(wanted) as model:
        return model.name


async def test_a_hundred_users_load_once(house: House) -> None:
    house.store.repos.add(TINY.repo)
    pool = house.pool()
    assert await asyncio.gather(*(name_of(pool) for _ in range(100))) == ["tiny"] * 100
    assert house.load.loads == ["tiny"]
    assert [model.name for model in pool.loaded()] == ["tiny"]


async def test_a_hundred_users_import_once(house: House) -> None:
    pool = house.pool()
    users = [asyncio.create_task(name_of(pool)) for _ in range(100)]
    await until(lambda: bool(house.importer.imports))
    house.importer.gate.set()
    assert await asyncio.gather(*users) == ["tiny"] * 100
    assert (house.importer.imports, house.load.loads) == (["tiny"], ["tiny"])


async def test_the_states_a_model_goes_through(house: House) -> None:
    pool = house.pool()
    house.load.gate.clear()
    assert pool.status(TINY) == Status("importable")
    user = asyncio.create_task(name_of(pool))
    await until(lambda: bool(house.importer.imports))
    assert pool.status(TINY) == Status("importing")
    house.importer.report(0.25)
    assert pool.status(TINY) == Status("importing", progress=0.25)
    house.importer.gate.set()
    await until(lambda: bool(house.load.loads))
    assert pool.status(TINY) == Status("loading")
    assert pool.loaded() == []
    house.load.gate.set()
    await user
    assert pool.status(TINY) == Status("ready")
    assert pool.status(OTHER) == Status("importable")
    house.store.repos.add(OTHER.repo)
    assert pool.status(OTHER) == Status("stored")


async def test_import_off(house: House) -> None:
    pool = house.pool(imports=False)
    assert pool.status(TINY).state == "unavailable"
    with pytest.raises(
        ModelUnavailableError, match=r"IMPORT_ON_DEMAND is off. Run: scripts/import_models --model tiny"
    ):
        await name_of(pool)


async def test_a_failed_import_is_told_to_all_with_the_names_that_are_ready(house: House) -> None:
    house.store.repos.add(OTHER.repo)
    pool = house.pool()
    await name_of(pool, OTHER)
    house.importer.failure = ModelUnavailableError("The Hub is down.")
    users = [asyncio.create_task(name_of(pool)) for _ in range(100)]
    await until(lambda: bool(house.importer.imports))
    house.importer.gate.set()
    failures = await asyncio.gather(*users, return_exceptions=True)
    assert {(type(failure), str(failure)) for failure in failures} == {
        (ModelUnavailableError, "The Hub is down. Ready now: other.")
    }
    assert all(isinstance(failure, ServiceError) and failure.retry_after_s for failure in failures)
    assert pool.status(TINY) == Status("unavailable", "The Hub is down. Ready now: other.")


async def test_a_failure_is_tried_again_only_after_a_while(house: House) -> None:
    house.store.repos.add(TINY.repo)
    pool = house.pool()
    house.load.failure = ModelUnavailableError("No memory.")
    for _ in range(3):
        with pytest.raises(ModelUnavailableError, match=r"No memory\."):
            await name_of(pool)
    assert house.load.loads == ["tiny"]
    house.load.failure = None
    house.clock.now += RETRY_FAILED_AFTER_S - 1
    with pytest.raises(ModelUnavailableError):
        await name_of(pool)
    house.clock.now += 2
    assert await name_of(pool) == "tiny"
    assert house.load.loads == ["tiny", "tiny"]
    assert pool.status(TINY) == Status("ready")


async def test_a_remembered_failure_does_not_grow(house: House) -> None:
    """Each raise of one exception object adds frames to it, and they keep their requests in memory."""
    house.store.repos.add(TINY.repo)
    pool = house.pool()
    house.load.failure = ModelUnavailableError("No memory.")
    depths = []
    for _ in range(5):
        with pytest.raises(ModelUnavailableError) as raised:
            await name_of(pool)
        depths.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert depths[1:] == depths[1:2] * 4


async def test_an_unexpected_failure_is_a_503_without_its_words(house: House) -> None:
    house.store.repos.add(TINY.repo)
    house.load.failure = RuntimeError("CUDA error at /home/me")
    with pytest.raises(ModelUnavailableError, match=r"^tiny could not be loaded \(RuntimeError\)\.$"):
        await name_of(house.pool())


async def test_an_import_that_leaves_nothing_is_a_failure(house: House) -> None:
    house.importer.stores = False
    house.importer.gate.set()
    with pytest.raises(ModelUnavailableError, match="the model store does not have it"):
        await name_of(house.pool())


async def test_a_user_that_gives_up_does_not_stop_the_load_for_the_others(house: House) -> None:
    house.store.repos.add(TINY.repo)
    house.load.gate.clear()
    pool = house.pool()
    leaving, staying = asyncio.create_task(name_of(pool)), asyncio.create_task(name_of(pool))
    await until(lambda: bool(house.load.loads))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    house.load.gate.set()
    assert await staying == "tiny"
    assert house.load.loads == ["tiny"]


async def test_two_models_are_loaded_one_after_the_other(house: House) -> None:
    house.store.repos |= {TINY.repo, OTHER.repo}
    house.load.gate.clear()
    pool = house.pool()
    users = [asyncio.create_task(name_of(pool, wanted)) for wanted in (TINY, OTHER)]
    await until(lambda: bool(house.load.loads))
    assert len(house.load.loads) == 1
    house.load.gate.set()
    assert await asyncio.gather(*users) == ["tiny", "other"]


async def test_close_frees_the_models(house: House) -> None:
    house.store.repos.add(TINY.repo)
    pool = house.pool()
    async with pool.use(TINY) as model:
        assert model.engine
        backend = model.engine.backend
    await pool.close()
    assert isinstance(backend, FakeBackend)
    assert backend.closed
    assert pool.loaded() == []


async def test_close_gives_an_error_to_whoever_waits_for_a_model(house: House) -> None:
    pool = house.pool()
    user = asyncio.create_task(name_of(pool))
    await until(lambda: bool(house.importer.imports))
    await pool.close()
    with pytest.raises(ShuttingDownError):
        await user


async def test_what_this_machine_cannot_serve_is_not_even_imported(house: House) -> None:
    house.unavailable_reason = "tiny needs more memory."
    pool = house.pool()
    assert pool.status(TINY) == Status("unavailable", "tiny needs more memory.")
    with pytest.raises(ModelUnavailableError, match=r"^tiny needs more memory\. No other model is in memory"):
        await name_of(pool)
    assert house.importer.imports == house.load.loads == []


async def test_a_forwarded_model_is_neither_stored_nor_imported(house: House) -> None:
    pool = house.pool()
    assert pool.status(FAR) == Status("forwarded")
    assert await name_of(pool, FAR) == "far"
    assert house.importer.imports == []
    assert pool.status(FAR) == Status("ready")
