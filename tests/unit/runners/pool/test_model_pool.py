"""The pool: one load however many ask, failures told to all and not repeated at once, states that are true."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from errors import ModelUnavailableError, ServiceError, ShuttingDownError
from runners.loaded_model import Status
from runners.pool.model_pool import RETRY_FAILED_AFTER_S
from tests.unit.fakes import until
from tests.unit.runners.pool.house import FAR, OTHER, TINY, House


async def test_a_hundred_users_import_once(house: House) -> None:
    users = [asyncio.create_task(house.use()) for _ in range(100)]
    await until(lambda: bool(house.importer.imports))
    house.importer.gate.set()
    assert await asyncio.gather(*users) == ["tiny"] * 100
    assert [model.name for model in house.pool.loaded()] == ["tiny"]
    assert (house.importer.imports, house.load.loads) == (["tiny"], ["tiny"])


async def test_the_states_a_model_goes_through(house: House) -> None:
    house.load.gate.clear()
    assert house.pool.status(TINY) == Status("importable")
    user = asyncio.create_task(house.use())
    await until(lambda: bool(house.importer.imports))
    assert house.pool.status(TINY) == Status("importing")
    house.importer.report(0.25)
    assert house.pool.status(TINY) == Status("importing", progress=0.25)
    house.importer.gate.set()
    await until(lambda: bool(house.load.loads))
    assert house.pool.status(TINY) == Status("loading")
    assert house.pool.loaded() == []
    house.load.gate.set()
    await user
    assert house.pool.status(TINY) == Status("ready")
    assert house.pool.status(OTHER) == Status("importable")
    house.store.repos.add(OTHER.repo)
    assert house.pool.status(OTHER) == Status("stored")


async def test_import_off() -> None:
    house = House(imports=False)
    assert house.pool.status(TINY).state == "unavailable"
    with pytest.raises(ModelUnavailableError, match=r"IMPORT_ON_DEMAND is off. Run: ./embeddings import tiny"):
        await house.use()
    await house.close()


async def test_a_failed_import_is_told_to_all_with_the_names_that_are_ready(house: House) -> None:
    house.store.repos.add(OTHER.repo)
    await house.use(OTHER)
    house.importer.failure = ModelUnavailableError("The Hub is down.")
    users = [asyncio.create_task(house.use()) for _ in range(100)]
    await until(lambda: bool(house.importer.imports))
    house.importer.gate.set()
    failures = await asyncio.gather(*users, return_exceptions=True)
    assert {(type(failure), str(failure)) for failure in failures} == {
        (ModelUnavailableError, "The Hub is down. Ready now: other.")
    }
    assert all(isinstance(failure, ServiceError) and failure.retry_after_s for failure in failures)
    assert house.pool.status(TINY) == Status("unavailable", "The Hub is down. Ready now: other.")


async def test_a_failure_is_tried_again_only_after_a_while(house: House) -> None:
    house.store.repos.add(TINY.repo)
    house.load.failure = ModelUnavailableError("No memory.")
    for _ in range(3):
        with pytest.raises(ModelUnavailableError, match=r"No memory\."):
            await house.use()
    assert house.load.loads == ["tiny"]
    house.load.failure = None
    house.clock.now += RETRY_FAILED_AFTER_S - 1
    with pytest.raises(ModelUnavailableError):
        await house.use()
    house.clock.now += 2
    assert await house.use() == "tiny"
    assert house.load.loads == ["tiny", "tiny"]
    assert house.pool.status(TINY) == Status("ready")


async def test_a_remembered_failure_does_not_grow(house: House) -> None:
    """Each raise of one exception object adds frames to it, and they keep their requests in memory."""
    house.store.repos.add(TINY.repo)
    house.load.failure = ModelUnavailableError("No memory.")
    depths = []
    for _ in range(5):
        with pytest.raises(ModelUnavailableError) as raised:
            await house.use()
        depths.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert depths[1:] == depths[1:2] * 4


async def test_an_import_that_leaves_nothing_is_a_failure(house: House) -> None:
    house.importer.stores = False
    house.importer.gate.set()
    with pytest.raises(ModelUnavailableError, match="the model store does not have it"):
        await house.use()


async def test_a_user_that_gives_up_does_not_stop_the_load_for_the_others(house: House) -> None:
    house.store.repos.add(TINY.repo)
    house.load.gate.clear()
    leaving, staying = asyncio.create_task(house.use()), asyncio.create_task(house.use())
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
    users = [asyncio.create_task(house.use(wanted)) for wanted in (TINY, OTHER)]
    await until(lambda: bool(house.load.loads))
    assert len(house.load.loads) == 1
    house.load.gate.set()
    assert await asyncio.gather(*users) == ["tiny", "other"]


async def test_close_gives_an_error_to_whoever_waits_for_a_model(house: House) -> None:
    user = asyncio.create_task(house.use())
    await until(lambda: bool(house.importer.imports))
    await house.pool.close()
    with pytest.raises(ShuttingDownError):
        await user


async def test_what_this_machine_cannot_serve_is_not_even_imported(house: House) -> None:
    house.unavailable_reason = "tiny needs more memory."
    assert house.pool.status(TINY) == Status("unavailable", "tiny needs more memory.")
    with pytest.raises(ModelUnavailableError, match=r"^tiny needs more memory\. No other model is in memory"):
        await house.use()
    with pytest.raises(ModelUnavailableError, match="needs more memory"):
        await house.pool.import_model(TINY)
    assert house.importer.imports == house.load.loads == []


async def test_a_forwarded_model_is_neither_stored_nor_imported(house: House) -> None:
    assert house.pool.status(FAR) == Status("forwarded")
    assert await house.use(FAR) == "far"
    assert house.importer.imports == []
    assert house.pool.status(FAR) == Status("ready")
    assert (await house.pool.in_memory())["far"].memory_bytes == 0
    await house.pool.unload(FAR)
    assert house.pool.status(FAR) == Status("forwarded")
