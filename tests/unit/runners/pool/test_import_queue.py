"""Imports one after the other: at most so many at once, in their order, of all workers; who leaves makes room."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from errors import CrossSiteError, ModelUnavailableError
from models.catalog import Catalog, ModelSpec
from models.integrity import fingerprint
from models.store import StoredModel
from runners.loaded_model import Status
from runners.pool import import_queue
from runners.pool.import_queue import ImportQueue
from runners.pool.model_pool import ModelPool
from tests.unit.fakes import PATIENCE_S, facts, spec, until
from tests.unit.runners.pool.house import FakeStore, Loader
from tests.unit.sources import ROOT

SPECS = [spec(name=f"model-{number}", repo=f"acme/{number}") for number in range(6)]
WAITING = Status("importing", "Waiting for another import to end (MAX_IMPORTS).")


class Imports:
    """Imports that run until they are let."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.begun: list[str] = []
        self.gates: dict[str, asyncio.Event] = {each.name: asyncio.Event() for each in SPECS}
        self.running = 0
        self.most = 0

    async def __call__(self, wanted: ModelSpec, report: Callable[[float], None]) -> None:
        self.begun.append(wanted.name)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.wait_for(self.gates[wanted.name].wait(), PATIENCE_S)
        finally:
            self.running -= 1
        self.store.repos.add(wanted.repo)

    def let(self, *names: str) -> None:
        for name in names or self.gates:
            self.gates[name].set()


class Queue:
    """A pool whose models all have to be imported."""

    def __init__(self, *, places: int = 2) -> None:
        store = FakeStore()
        self.store: Any = store
        self.imports = Imports(store)
        self.incomplete: set[str] = set()
        self.pool = ModelPool(
            Catalog(SPECS),
            cast(Any, store),
            load=Loader(),
            import_model=self.imports,
            unavailable_reason=lambda _: None,
            needs_export=lambda stored: stored.facts.repo in self.incomplete,
            max_imports=places,
        )
        self.users: list[asyncio.Task[str]] = []

    async def use(self, wanted: ModelSpec, *, may_import: bool = True) -> str:
        async with self.pool.use(wanted, may_import=may_import) as model:
            return model.name

    def ask(self, *wanted: ModelSpec) -> list[asyncio.Task[str]]:
        asked = [asyncio.create_task(self.use(each)) for each in wanted]
        self.users += asked
        return asked

    async def fill(self) -> None:
        """Take both places."""
        self.ask(*SPECS[:2])
        await until(lambda: len(self.imports.begun) == 2)

    def states(self) -> list[Status]:
        return [self.pool.status(each) for each in SPECS]

    async def waiting(self, count: int) -> None:
        await until(lambda: self.states().count(WAITING) == count)


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    built = Queue()
    yield built
    built.imports.let()
    await built.pool.close()
    await asyncio.gather(*built.users, return_exceptions=True)


async def test_at_most_two_at_once(queue: Queue) -> None:
    users = queue.ask(*SPECS)
    await queue.waiting(4)
    assert queue.states().count(Status("importing")) == len(queue.imports.begun) == 2
    queue.imports.let()
    assert await asyncio.gather(*users) == [each.name for each in SPECS]
    assert sorted(queue.imports.begun) == [each.name for each in SPECS]
    assert queue.imports.most == 2


async def test_the_others_wait_in_their_order() -> None:
    queue = Queue(places=1)
    for waiting, wanted in enumerate(SPECS):
        queue.ask(wanted)
        await queue.waiting(waiting)
        await until(lambda: bool(queue.imports.begun))
    assert queue.imports.begun == ["model-0"]
    queue.imports.let()
    await asyncio.gather(*queue.users)
    assert queue.imports.begun == [each.name for each in SPECS]
    assert queue.imports.most == 1
    await queue.pool.close()


async def test_who_leaves_makes_room(queue: Queue) -> None:
    await queue.fill()
    leaving, staying = queue.ask(*SPECS[2:4])
    await queue.waiting(2)
    leaving.cancel()
    await until(lambda: queue.pool.status(SPECS[2]) == Status("importable"))
    queue.imports.let()
    assert await staying == "model-3"
    assert "model-2" not in queue.imports.begun


async def test_a_place_is_kept_while_somebody_waits_for_it(queue: Queue) -> None:
    await queue.fill()
    leaving, staying = queue.ask(SPECS[2], SPECS[2])
    importing = asyncio.create_task(queue.pool.import_model(SPECS[3]))
    await queue.waiting(2)
    for task in (leaving, importing):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert queue.pool.status(SPECS[3]) == Status("importable")
    assert queue.pool.status(SPECS[2]) == WAITING
    queue.imports.let()
    assert await staying == "model-2"


async def test_who_comes_back_waits_anew(queue: Queue) -> None:
    await queue.fill()
    (leaving,) = queue.ask(SPECS[2])
    await queue.waiting(1)
    leaving.cancel()
    (back,) = queue.ask(SPECS[2])  # before the one that leaves has had its turn
    await queue.waiting(1)
    queue.imports.let()
    assert await back == "model-2"
    assert queue.imports.begun.count("model-2") == 1


async def test_an_import_that_has_begun_goes_on_without_its_waiters(queue: Queue) -> None:
    (leaving,) = queue.ask(SPECS[0])
    await until(lambda: bool(queue.imports.begun))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert queue.pool.status(SPECS[0]) == Status("importing")
    queue.imports.let()
    await until(lambda: queue.pool.status(SPECS[0]).state == "ready")


async def enter(line: ImportQueue) -> None:
    async with line.slot():
        pass


async def test_a_line_is_shared_by_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker is a process of its own."""
    monkeypatch.setattr(import_queue, "_POLL_S", 0.01)
    holds = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom runners.pool.import_queue import ImportQueue\n"
        "async def main():\n"
        "    async with ImportQueue(2, Path(sys.argv[1])).slot():\n"
        "        print('in', flush=True)\n"
        "        sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", holds, str(tmp_path), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout
    assert await other.stdout.readline() == b"in\n"
    line = ImportQueue(2, tmp_path)
    async with line.slot():
        second = asyncio.create_task(enter(line))
        await asyncio.sleep(0.1)
        assert not second.done()  # one place is the other worker's, one is taken here
        other.kill()  # the system gives its place back
        await asyncio.wait_for(second, PATIENCE_S)
    await other.wait()


async def test_a_damaged_model_is_imported_anew(queue: Queue, tmp_path: Path) -> None:
    damage(queue.store, tmp_path)
    (user,) = queue.ask(SPECS[0])
    await until(lambda: bool(queue.imports.begun))
    queue.store.find = FakeStore("acme/0").find  # what the import leaves
    queue.imports.let()
    assert await user == "model-0"


async def test_an_import_that_repairs_nothing_is_a_failure(queue: Queue, tmp_path: Path) -> None:
    damage(queue.store, tmp_path)
    queue.imports.let()
    with pytest.raises(ModelUnavailableError, match=r"^The import of model-0 ended, but weights in .* is damaged"):
        await queue.use(SPECS[0])


async def test_a_damaged_model_is_named_where_nothing_is_imported(tmp_path: Path) -> None:
    store: Any = FakeStore()
    damage(store, tmp_path)
    pool = ModelPool(Catalog(SPECS), store, load=Loader(), import_model=None, unavailable_reason=lambda _: None)
    with pytest.raises(ModelUnavailableError) as raised:
        async with pool.use(SPECS[0]):
            pass
    assert f"weights in {tmp_path} is damaged or missing" in raised.value.message
    assert "Run: ./embeddings import model-0." in raised.value.message
    await pool.close()


def damage(store: Any, folder: Path) -> None:
    """A stored model of which one file is not what was imported."""
    (folder / "weights").write_bytes(b"what was imported")
    known = facts(repo="acme/0", fingerprints={"weights": fingerprint(folder / "weights")})
    (folder / "weights").write_bytes(b"what is there")
    store.find = lambda _: StoredModel("it", folder, known)


async def test_a_page_of_another_site_starts_no_import(queue: Queue) -> None:
    with pytest.raises(CrossSiteError, match=r"^model-0 is not imported, .* CORS_ORIGINS\.$"):
        await queue.use(SPECS[0], may_import=False)
    assert queue.imports.begun == []
    assert queue.pool.status(SPECS[0]) == Status("importable")


async def test_nor_the_conversion_of_a_stored_model(queue: Queue) -> None:
    queue.store.repos.add(SPECS[0].repo)
    queue.incomplete.add(SPECS[0].repo)
    with pytest.raises(CrossSiteError):
        await queue.use(SPECS[0], may_import=False)
    queue.incomplete.clear()
    assert await queue.use(SPECS[0], may_import=False) == "model-0"


async def test_it_may_wait_for_an_import_that_others_want(queue: Queue) -> None:
    queue.ask(SPECS[0])
    await until(lambda: bool(queue.imports.begun))
    visitor = asyncio.create_task(queue.use(SPECS[0], may_import=False))
    queue.imports.let()
    assert await visitor == "model-0"
