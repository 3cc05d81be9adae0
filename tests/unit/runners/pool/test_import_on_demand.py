"""A model that is in the store is served, whatever becomes of its conversion."""

from __future__ import annotations

import asyncio

import pytest

from errors import ModelUnavailableError
from runners.pool import import_on_demand
from tests.unit.runners.pool.house import TINY, House


@pytest.fixture(autouse=True)
def killed(house: House) -> None:
    """The child that imports and converts is killed."""
    house.incomplete = True
    house.importer.failure = ModelUnavailableError("The import of tiny ended with status -9.")
    house.importer.gate.set()


async def test_a_stored_model_serves_where_its_conversion_ends_the_import(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Torch can serve it, and it is not tried again with each request."""
    house.store.repos.add(TINY.repo)
    assert await asyncio.gather(*(house.use() for _ in range(20))) == ["tiny"] * 20
    assert "tiny could not be converted and is served by torch: The import of tiny ended" in caplog.text
    await house.pool.unload(TINY)
    assert await house.use() == "tiny"
    assert house.importer.imports == ["tiny"]


async def test_a_first_import_that_dies_after_the_model_was_stored(house: House) -> None:
    house.importer.dies_late = True
    assert await house.use() == "tiny"


async def test_a_damaged_model_is_not_served_where_its_import_fails(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.store.repos.add(TINY.repo)
    monkeypatch.setattr(import_on_demand, "find_flaw", lambda *_: "model.safetensors is damaged")
    with pytest.raises(ModelUnavailableError, match="ended with status -9"):
        await house.use()
    assert house.load.loads == []
