"""Models that hang: every waiter is told, the next request loads anew, and a second time only a restart helps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest

from errors import InternalError, ShuttingDownError
from runners import batching, lanes, model_pool, watchdog
from runners.loaded_model import Status
from tests.unit.fakes import PATIENCE_S, until
from tests.unit.runners.faulty import FaultyBackend
from tests.unit.runners.shelf import SPECS, Shelf

A, B, *_ = SPECS
REQUESTS = 400
LIMIT_S = 300.0


class Clock:
    """The batchers' time, which only a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        clock = SimpleNamespace(monotonic=lambda: self.now, perf_counter=lambda: self.now)
        monkeypatch.setattr(batching, "time", clock)
        monkeypatch.setattr(lanes, "time", clock)


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    """Room for one model besides the one that hangs."""
    shelf = Shelf(2)
    yield shelf
    shelf.release()
    await asyncio.wait_for(shelf.pool.close(), PATIENCE_S)


async def hang(shelf: Shelf, requests: int = REQUESTS) -> tuple[FaultyBackend, list[asyncio.Task[list[float]]]]:
    """Load A and hang it under so many requests."""
    await shelf.ask(1, A)
    backend = shelf.backends[A.name]
    backend.hang()
    tasks = [asyncio.create_task(shelf.ask(number, A)) for number in range(requests)]
    await backend.hanging()
    return backend, tasks


async def told(tasks: list[asyncio.Task[list[float]]]) -> Counter[str]:
    """What each request was told."""
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE_S)
    assert all(isinstance(result, InternalError | ShuttingDownError) for result in results)
    return Counter(map(str, results))


async def test_a_model_that_hangs_is_given_up_and_loaded_anew(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    backend, tasks = await hang(shelf)
    clock.now += LIMIT_S - 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert not any(task.done() for task in tasks)
    clock.now += 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert await told(tasks) == {"model-0 stopped answering and is loaded anew. Try again.": REQUESTS}
    assert shelf.pool.status(A) == Status("stored")
    assert shelf.pool.watchdog.alive
    await asyncio.gather(*(shelf.ask(number, A) for number in range(REQUESTS)))
    assert shelf.loads[A.name] == 2
    assert backend.closed == 0
    backend.release()  # the pass comes back after all
    await until(lambda: backend.closed == 1)


async def test_a_second_hang_ends_life(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    for alive in (True, False):
        backend, tasks = await hang(shelf)
        clock.now += LIMIT_S
        shelf.pool.abort_stalled(LIMIT_S)
        assert (await told(tasks)).total() == REQUESTS
        assert shelf.pool.watchdog.alive is alive
        backend.release()
    await shelf.ask(1, A)  # alive or not, the next one is right


async def test_another_model_is_served_meanwhile_and_not_given_up(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    backend, tasks = await hang(shelf)
    clock.now += LIMIT_S
    await asyncio.gather(*(shelf.ask(number, B) for number in range(REQUESTS)))
    shelf.pool.abort_stalled(LIMIT_S)
    assert (await told(tasks)).total() == REQUESTS
    assert shelf.names == [B.name]
    await shelf.ask(1, B)
    assert shelf.loads[B.name] == 1
    backend.release()


async def test_waiters_that_left_do_not_hide_a_hang(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their deadline comes before the watchdog's, and a model that nobody uses would be closed, which waits."""
    clock = Clock(monkeypatch)
    backend, tasks = await hang(shelf)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    clock.now += LIMIT_S - 1
    await asyncio.wait_for(shelf.pool.unload_idle(0), PATIENCE_S)
    clock.now += 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert shelf.names == []
    await shelf.ask(1, A)
    backend.release()


async def test_a_model_that_hangs_while_another_waits_for_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pool, "DRAIN_PATIENCE_S", 2 * PATIENCE_S)  # longer than the test would wait
    clock, one = Clock(monkeypatch), Shelf(1)
    backend, tasks = await hang(one)
    other = asyncio.create_task(one.ask(2, B))
    await until(lambda: one.pool._entries[A.name].leaving is not None)
    clock.now += LIMIT_S
    one.pool.abort_stalled(LIMIT_S)
    assert (await told(tasks)).total() == REQUESTS
    await asyncio.wait_for(other, PATIENCE_S)
    await one.ask(3, A)
    backend.release()
    await one.pool.close()


async def test_nothing_to_give_up(shelf: Shelf) -> None:
    shelf.pool.abort_stalled(0.001)
    await shelf.ask(1, A)
    shelf.gate.clear()
    loading = asyncio.create_task(shelf.ask(1, B))
    await until(lambda: bool(shelf.loads[B.name]))
    shelf.pool.abort_stalled(0.001)  # one is idle, the other one is being loaded
    assert shelf.names == [A.name]
    shelf.gate.set()
    await loading


async def test_many_models_hang_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, six = Clock(monkeypatch), Shelf(6)
    for wanted in SPECS:
        await six.ask(1, wanted)
        six.backends[wanted.name].hang()
    hanging: list[Callable[[], None]] = [backend.release for backend in six.backends.values()]
    tasks = [asyncio.create_task(six.ask(number, wanted)) for wanted in SPECS for number in range(100)]
    await asyncio.gather(*(backend.hanging() for backend in six.backends.values()))
    clock.now += LIMIT_S
    six.pool.abort_stalled(LIMIT_S)
    assert (await told(tasks)).total() == 600
    assert six.pool.watchdog.alive
    await asyncio.gather(*(six.ask(number, wanted) for wanted in SPECS for number in range(100)))
    for release in hanging:
        release()
    await six.pool.close()
    await until(lambda: six.closes == six.loads)


async def test_a_load_that_never_ends_ends_life(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads take turns, so all that come after it would wait for ever."""
    now = 1000.0
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(model_pool, "time", SimpleNamespace(monotonic=lambda: now))
    shelf.gate.clear()
    loading = asyncio.create_task(shelf.ask(1, A))
    await until(lambda: A.name in shelf.pool._entries and shelf.pool._entries[A.name].loading_since is not None)
    now += watchdog.LONGEST_LOAD_S - 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert shelf.pool.watchdog.alive
    now += 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert not shelf.pool.watchdog.alive
    shelf.gate.set()
    await loading
