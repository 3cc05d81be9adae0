"""The model that a request names: listed, stored by name, imported because IMPORT_ALLOWED allows it, or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from api import cross_site
from api.by_name import ByName
from errors import CrossSiteError, ModelNotFoundError, ModelUnavailableError
from models.catalog import Catalog, ModelSpec
from runners.pool.model_pool import RETRY_FAILED_AFTER_S
from settings import load_settings
from tests.unit.fakes import Clock, spec


class Pool:
    """A pool whose imports store a block, or fail."""

    def __init__(self) -> None:
        self.blocks: list[ModelSpec] = []
        self.imports: list[str] = []
        self.failure: ModelUnavailableError | None = None
        self.catalog = Catalog([spec()], lambda: self.blocks)

    async def import_model(self, wanted: ModelSpec) -> None:
        self.imports.append(wanted.repo)
        if self.failure is not None:
            raise self.failure
        self.blocks = [*self.blocks, wanted.model_copy(update={"kind": "reranker"})]


@pytest.fixture
def pool() -> Pool:
    return Pool()


def by_name(pool: Any, settings: dict[str, str] | None = None, clock: Clock | None = None) -> ByName:
    return ByName(pool, load_settings({"IMPORT_ALLOWED": "acme/*, other/Exact"} | (settings or {})), clock or Clock())


async def test_a_listed_model_is_found(pool: Pool) -> None:
    found, side = await by_name(pool).resolve("Acme/Tiny:query")
    assert (found.name, side) == ("tiny", "query")
    assert pool.imports == []


@pytest.mark.parametrize("name", ["acme/New", "ACME/New:document", "Other/exact"])
async def test_an_allowed_repository_is_imported_once(pool: Pool, name: str) -> None:
    names = by_name(pool)
    found, side = await names.resolve(name)
    assert (found.repo, found.kind) == (name.partition(":")[0], "reranker")
    assert side == ("document" if ":" in name else None)
    assert (await names.resolve(found.name))[0] == found
    assert pool.imports == [found.repo]


@pytest.mark.parametrize("name", ["another/New", "acme/", "acme/a/b/c", "New", "acme/../x y"])
async def test_any_other_name_is_unknown(pool: Pool, name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        await by_name(pool).resolve(name)
    assert pool.imports == []


@pytest.mark.parametrize("settings", [{"IMPORT_ALLOWED": ""}, {"IMPORT_ON_DEMAND": "false"}])
async def test_without_permission_the_error_says_how(pool: Pool, settings: dict[str, str]) -> None:
    with pytest.raises(ModelNotFoundError, match=r"run ./embeddings import with its full name, or set IMPORT_ALLOWED"):
        await by_name(pool, settings).resolve("acme/New")
    assert pool.imports == []


async def test_a_failure_is_remembered_for_a_while(pool: Pool) -> None:
    clock = Clock()
    names = by_name(pool, clock=clock)
    pool.failure = ModelUnavailableError("The Hub is down.")
    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match="The Hub is down"):
            await names.resolve("acme/New")
    assert pool.imports == ["acme/New"]
    clock.now += RETRY_FAILED_AFTER_S
    pool.failure = None
    assert (await names.resolve("acme/New"))[0].name == "New"


async def test_a_page_of_another_site_cannot_start_an_import(pool: Pool) -> None:
    token = cross_site._may_import.set(False)
    try:
        with pytest.raises(CrossSiteError):
            await by_name(pool).resolve("acme/New")
    finally:
        cross_site._may_import.reset(token)
    assert pool.imports == []
