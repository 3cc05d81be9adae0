"""What ADMIN allows: a model loaded, unloaded or imported because somebody asked for just that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from errors import ModelBusyError, ModelUnavailableError
from runners.loaded_model import Status
from runners.pool import model_pool
from runners.pool.model_pool import ModelPool
from tests.unit.fakes import PATIENCE_S, until
from tests.unit.runners.pool.house import FAR, OTHER, TINY, House


@pytest.fixture(autouse=True)
def other_is_stored(house: House) -> None:
    house.store.repos.add(OTHER.repo)


async def test_load(house: House) -> None:
    await house.pool.load(OTHER)
    await house.pool.load(OTHER)
    assert house.pool.status(OTHER) == Status("ready")
    assert house.load.loads == ["other"]


async def test_load_tries_a_model_that_has_just_failed(house: House) -> None:
    house.load.failure = ModelUnavailableError("broken")
    with pytest.raises(ModelUnavailableError):
        await house.pool.load(OTHER)
    assert house.pool.status(OTHER) == Status("stored", "broken")
    house.load.failure = None
    with pytest.raises(ModelUnavailableError):
        await house.use(OTHER)
    await house.pool.load(OTHER)
    assert house.pool.status(OTHER) == Status("ready")


async def test_import_alone(house: House) -> None:
    asked = asyncio.create_task(house.pool.import_model(TINY))
    await until(lambda: bool(house.importer.imports))
    house.importer.report(0.5)
    assert house.pool.status(TINY) == Status("importing", progress=0.5)
    house.importer.gate.set()
    await asked
    assert house.pool.status(TINY) == Status("stored")
    assert house.load.loads == []
    await house.pool.import_model(TINY)
    assert house.importer.imports == ["tiny"]


async def test_who_loads_meanwhile_waits_for_the_same_import(house: House) -> None:
    asked = asyncio.create_task(house.pool.import_model(TINY))
    await until(lambda: bool(house.importer.imports))
    user = asyncio.create_task(house.use())
    await asyncio.sleep(0)
    assert house.pool.status(TINY).state == "importing"
    house.importer.gate.set()
    await asked
    assert await user == "tiny"
    assert house.importer.imports == ["tiny"]


async def test_an_import_that_fails_says_why_and_may_be_tried_again_at_once(house: House) -> None:
    house.importer.gate.set()
    house.importer.failure = ModelUnavailableError("no such repository")
    with pytest.raises(ModelUnavailableError, match="no such repository"):
        await house.pool.import_model(TINY)
    assert house.pool.status(TINY).state == "unavailable"
    assert "no such repository" in house.pool.status(TINY).detail
    house.importer.failure = None
    await house.pool.import_model(TINY)
    assert house.pool.status(TINY) == Status("stored")


async def test_unload(house: House) -> None:
    await house.pool.unload(OTHER)  # nothing to do
    await house.pool.pin(OTHER)
    await house.pool.unload(OTHER)
    assert house.pool.status(OTHER) == Status("stored")
    assert not await house.pool.in_memory()
    await house.pool.load(OTHER)
    assert house.load.loads == ["other", "other"]


async def test_unload_waits_for_requests_and_new_ones_wait_for_it(house: House) -> None:
    async with house.pool.use(OTHER):
        asked = [asyncio.create_task(house.pool.unload(OTHER)) for _ in range(2)]
        await until(lambda: house.pool._entries["other"].draining is not None)
        late = asyncio.create_task(house.use(OTHER))
        await asyncio.sleep(0)
        assert not any(task.done() for task in asked)
    await asyncio.wait_for(asyncio.gather(*asked), PATIENCE_S)
    assert await asyncio.wait_for(late, PATIENCE_S) == "other"
    assert house.load.loads == ["other", "other"]


async def test_a_model_in_use_for_long_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pool, "DRAIN_PATIENCE_S", 0.05)
    await house.pool.pin(OTHER)
    async with house.pool.use(OTHER):
        with pytest.raises(ModelBusyError, match="in use"):
            await house.pool.unload(OTHER)
    assert house.pool.status(OTHER) == Status("ready")
    assert house.pool._entries["other"].pinned
    assert await house.use(OTHER) == "other"
    assert house.load.loads == ["other"]


async def test_a_model_on_its_way_is_not_unloaded(house: House) -> None:
    house.load.gate.clear()
    user = asyncio.create_task(house.use(OTHER))
    await until(lambda: bool(house.load.loads))
    with pytest.raises(ModelBusyError, match="being loaded"):
        await house.pool.unload(OTHER)
    house.load.gate.set()
    assert await user == "other"


CLOSING: dict[str, Callable[[ModelPool], Awaitable[None]]] = {
    "asked": lambda pool: pool.unload(FAR),
    "idle": lambda pool: pool.unload_idle(0),
    "end": lambda pool: pool.close(),
}


@pytest.mark.parametrize("close", CLOSING.values(), ids=CLOSING)
async def test_a_forwarded_model_that_goes_closes_its_connections(
    house: House, close: Callable[[ModelPool], Awaitable[None]]
) -> None:
    closed: list[str] = []

    async def disconnect() -> None:
        closed.append(FAR.name)

    house.load.disconnect = disconnect
    await house.pool.load(FAR)
    assert closed == []
    await close(house.pool)
    assert closed == [FAR.name]


async def test_connections_that_cannot_be_closed_stop_nothing(house: House) -> None:
    async def fail() -> None:
        raise OSError("gone")

    house.load.disconnect = fail
    await house.pool.load(FAR)
    await house.pool.unload_idle(0)
    house.load.disconnect = None
    assert house.pool.status(FAR) == Status("forwarded")
    assert await house.use(FAR) == "far"
