"""What ADMIN allows: a model loaded, unloaded or imported because somebody asked for just that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from errors import ModelBusyError, ModelUnavailableError, ShuttingDownError
from runners.loaded_model import Status
from runners.pool import model_pool
from runners.pool.model_pool import ModelPool
from tests.unit.fakes import PATIENCE_S, until
from tests.unit.runners.pool.test_model_pool import FAR, OTHER, TINY, House, name_of


@pytest.fixture
async def house() -> AsyncIterator[House]:
    built = House()
    built.store.repos |= {OTHER.repo}
    yield built
    built.load.gate.set()
    built.importer.gate.set()
    for pool in built.pools:
        await pool.close()


async def test_load(house: House) -> None:
    pool = house.pool()
    await pool.load(OTHER)
    await pool.load(OTHER)
    assert pool.status(OTHER) == Status("ready")
    assert house.load.loads == ["other"]


async def test_load_tries_a_model_that_has_just_failed(house: House) -> None:
    pool = house.pool()
    house.load.failure = ModelUnavailableError("broken")
    with pytest.raises(ModelUnavailableError):
        await pool.load(OTHER)
    assert pool.status(OTHER) == Status("stored", "broken")
    house.load.failure = None
    with pytest.raises(ModelUnavailableError):
        await name_of(pool, OTHER)
    await pool.load(OTHER)
    assert pool.status(OTHER) == Status("ready")


async def test_import_alone(house: House) -> None:
    pool = house.pool()
    asked = asyncio.create_task(pool.import_model(TINY))
    await until(lambda: bool(house.importer.imports))
    house.importer.report(0.5)
    assert pool.status(TINY) == Status("importing", progress=0.5)
    house.importer.gate.set()
    await asked
    assert pool.status(TINY) == Status("stored")
    assert house.load.loads == []
    await pool.import_model(TINY)
    assert house.importer.imports == ["tiny"]


async def test_who_loads_meanwhile_waits_for_the_same_import(house: House) -> None:
    pool = house.pool()
    asked = asyncio.create_task(pool.import_model(TINY))
    await until(lambda: bool(house.importer.imports))
    user = asyncio.create_task(name_of(pool))
    await asyncio.sleep(0)
    assert pool.status(TINY).state == "importing"
    house.importer.gate.set()
    await asked
    assert await user == "tiny"
    assert house.importer.imports == ["tiny"]


async def test_who_asked_for_an_import_may_leave(house: House) -> None:
    pool = house.pool()
    asked = asyncio.create_task(pool.import_model(TINY))
    await until(lambda: bool(house.importer.imports))
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    house.importer.gate.set()
    await until(lambda: pool.status(TINY) == Status("stored"))


async def test_an_import_that_fails_says_why_and_may_be_tried_again_at_once(house: House) -> None:
    pool = house.pool()
    house.importer.gate.set()
    house.importer.failure = ModelUnavailableError("no such repository")
    with pytest.raises(ModelUnavailableError, match="no such repository"):
        await pool.import_model(TINY)
    assert pool.status(TINY).state == "unavailable"
    assert "no such repository" in pool.status(TINY).detail
    house.importer.failure = None
    await pool.import_model(TINY)
    assert pool.status(TINY) == Status("stored")


async def test_nothing_is_imported_where_the_model_cannot_run(house: House) -> None:
    pool = house.pool()
    house.unavailable_reason = "Needs a GPU."
    with pytest.raises(ModelUnavailableError, match="Needs a GPU"):
        await pool.import_model(TINY)
    assert house.importer.imports == []


async def test_the_end_of_the_service_ends_an_import(house: House) -> None:
    pool = house.pool()
    asked = asyncio.create_task(pool.import_model(TINY))
    await until(lambda: bool(house.importer.imports))
    await asyncio.wait_for(pool.close(), PATIENCE_S)
    with pytest.raises(ShuttingDownError):
        await asked


async def test_unload(house: House) -> None:
    pool = house.pool()
    await pool.unload(OTHER)  # nothing to do
    await pool.pin(OTHER)
    await pool.unload(OTHER)
    assert pool.status(OTHER) == Status("stored")
    assert pool.memory_bytes(OTHER) is None
    await pool.load(OTHER)
    assert house.load.loads == ["other", "other"]


async def test_unload_waits_for_requests_and_new_ones_wait_for_it(house: House) -> None:
    pool = house.pool()
    async with pool.use(OTHER):
        asked = asyncio.create_task(pool.unload(OTHER))
        await until(lambda: pool._entries["other"].draining is not None)
        late = asyncio.create_task(name_of(pool, OTHER))
        await asyncio.sleep(0)
        assert not asked.done()
    await asyncio.wait_for(asked, PATIENCE_S)
    assert await asyncio.wait_for(late, PATIENCE_S) == "other"
    assert house.load.loads == ["other", "other"]


async def test_a_model_in_use_for_long_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pool, "DRAIN_PATIENCE_S", 0.05)
    pool = house.pool()
    await pool.pin(OTHER)
    async with pool.use(OTHER):
        with pytest.raises(ModelBusyError, match="in use"):
            await pool.unload(OTHER)
    assert pool.status(OTHER) == Status("ready")
    assert pool._entries["other"].pinned
    assert await name_of(pool, OTHER) == "other"
    assert house.load.loads == ["other"]


async def test_two_who_unload_the_same(house: House) -> None:
    pool = house.pool()
    async with pool.use(OTHER):
        both = [asyncio.create_task(pool.unload(OTHER)) for _ in range(2)]
        await until(lambda: pool._entries["other"].draining is not None)
    await asyncio.wait_for(asyncio.gather(*both), PATIENCE_S)
    assert pool.status(OTHER) == Status("stored")


async def test_a_model_on_its_way_is_not_unloaded(house: House) -> None:
    pool = house.pool()
    house.load.gate.clear()
    user = asyncio.create_task(name_of(pool, OTHER))
    await until(lambda: bool(house.load.loads))
    with pytest.raises(ModelBusyError, match="being loaded"):
        await pool.unload(OTHER)
    house.load.gate.set()
    assert await user == "other"


async def test_a_forwarded_model_comes_and_goes(house: House) -> None:
    pool = house.pool()
    await pool.load(FAR)
    assert pool.memory_bytes(FAR) == 0
    await pool.unload(FAR)
    assert pool.status(FAR) == Status("forwarded")


async def closing(house: House, pool: ModelPool, how: str) -> None:
    """Take the forwarded model out of memory."""
    if how == "asked":
        await pool.unload(FAR)
    elif how == "idle":
        await pool.unload_idle(0)
    else:
        await pool.close()


@pytest.mark.parametrize("how", ["asked", "idle", "end"])
async def test_a_forwarded_model_that_goes_closes_its_connections(house: House, how: str) -> None:
    closed: list[str] = []

    async def disconnect() -> None:
        closed.append(FAR.name)

    pool = house.pool()
    house.load.disconnect = disconnect
    await pool.load(FAR)
    assert closed == []
    await closing(house, pool, how)
    assert closed == [FAR.name]


async def test_connections_that_cannot_be_closed_stop_nothing(house: House) -> None:
    async def fail() -> None:
        raise OSError("gone")

    pool = house.pool()
    house.load.disconnect = fail
    await pool.load(FAR)
    await pool.unload_idle(0)
    house.load.disconnect = None
    assert pool.status(FAR) == Status("forwarded")
    assert await name_of(pool, FAR) == "far"
