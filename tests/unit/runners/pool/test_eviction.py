"""A memory budget: the longest unused model makes room, one in use never does, and whoever waits is answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import numpy as np
import pytest

from errors import ModelUnavailableError
from runners.loaded_model import Status
from runners.pool import model_pool
from runners.pool.entry import Entry
from runners.pool.model_pool import RETRY_FAILED_AFTER_S
from tests.unit.fakes import PATIENCE_S, Clock, until
from tests.unit.runners.pool.shelf import SPECS, WEIGHT, Shelf

A, B, C, D, *_ = SPECS
GetShelf = Callable[..., Shelf]


@pytest.fixture
async def shelf() -> AsyncIterator[GetShelf]:
    """A pool with room for so many models, closed at the end."""
    made: list[Shelf] = []

    def get(room: int, clock: Clock | None = None) -> Shelf:
        made.append(Shelf(room, clock))
        return made[-1]

    yield get
    for one in made:
        one.release()
        await asyncio.wait_for(one.pool.close(), PATIENCE_S)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here finishes while another one waits for the room, except where a test is patient."""
    monkeypatch.setattr(model_pool, "DRAIN_PATIENCE_S", 0.05)


@pytest.fixture
def patient(hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pool, "DRAIN_PATIENCE_S", PATIENCE_S)


async def test_the_longest_unused_model_makes_room(shelf: GetShelf) -> None:
    two = shelf(2)
    for number, wanted in enumerate([A, B, A, C, A, D]):
        await two.ask(number, wanted)
    assert two.order == ["+model-0", "+model-1", "-model-1", "+model-2", "-model-2", "+model-3"]
    assert two.names == ["model-0", "model-3"]
    assert two.pool.status(B) == Status("stored")
    assert two.most == 2


async def test_a_model_in_use_finishes_goes_and_comes_back(shelf: GetShelf, patient: None) -> None:
    """Whoever needs the room waits for the requests in progress, and new requests wait behind it."""
    one = shelf(1)
    async with one.pool.use(A):
        other = asyncio.create_task(one.ask(1, B))
        await until(lambda: one.pool._entries[A.name].draining is not None)
        late = asyncio.create_task(one.ask(2, A))
        await asyncio.sleep(0)
        assert not other.done()
        assert not late.done()
    await asyncio.wait_for(asyncio.gather(other, late), PATIENCE_S)
    assert one.order == ["+model-0", "-model-0", "+model-1", "-model-1", "+model-0"]
    assert one.most == 1


async def test_a_model_that_computes_for_nobody_is_in_use_too(shelf: GetShelf) -> None:
    """Its waiter left. Closing it would wait for the pass, which may hang."""
    one = shelf(1)
    await one.ask(1, A)
    one.backends["model-0"].hang()
    leaving = asyncio.create_task(one.ask(2, A))
    await one.backends["model-0"].hanging()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    with pytest.raises(ModelUnavailableError):
        await asyncio.wait_for(one.ask(3, B), PATIENCE_S)
    await asyncio.wait_for(one.pool.unload_idle(0), PATIENCE_S)
    assert one.names == ["model-0"]
    one.release()
    await until(lambda: not one.pool.loaded()[0].compute.stalled_s)  # type: ignore[union-attr]
    await one.ask(4, B)
    assert one.names == ["model-1"]


async def test_pinned_models_stay(shelf: GetShelf) -> None:
    two = shelf(2)
    await two.pool.pin(A)
    for number, wanted in enumerate([B, C, D, B]):
        await two.ask(number, wanted)
    await two.pool.unload_idle(0)
    assert two.names == ["model-0"]
    assert not two.closes["model-0"]


async def test_all_in_use_is_a_503_with_the_numbers_and_passes_at_once(shelf: GetShelf) -> None:
    two = shelf(2)
    async with two.pool.use(A), two.pool.use(B):
        results = await asyncio.gather(*(two.ask(number, C) for number in range(300)), return_exceptions=True)
        assert all(isinstance(result, ModelUnavailableError) for result in results)
        refusal = results[0]
        assert isinstance(refusal, ModelUnavailableError)
        assert (refusal.status, refusal.retry_after_s) == (503, 5)
        assert str(refusal).startswith("model-2 needs about 0.0 GB")
        assert "0.0 GB budget (MEMORY_FRACTION)" in str(refusal)
        assert not two.loads["model-2"]
        await two.ask(1, A)
    await two.ask(2, C)  # the refusal is not remembered: there is room now
    assert two.names == ["model-0", "model-2"]


async def test_two_loads_at_once_do_not_take_the_same_room(shelf: GetShelf) -> None:
    two = shelf(2)
    await two.ask(0, A)
    two.gate.clear()
    asking = [asyncio.create_task(two.ask(number, wanted)) for number, wanted in enumerate([B, C, D])]
    await until(lambda: bool(two.loads["model-1"]))
    two.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert not [result for result in results if isinstance(result, Exception)]
    assert two.most == 2


async def test_unload_idle(shelf: GetShelf) -> None:
    clock = Clock()
    all_of_them = shelf(6, clock)
    await all_of_them.pool.pin(C)
    await all_of_them.ask(1, A)
    clock.now += 8
    await all_of_them.ask(2, B)
    clock.now += 5
    await all_of_them.pool.unload_idle(10)
    assert all_of_them.names == ["model-1", "model-2"]
    async with all_of_them.pool.use(B):
        clock.now += 100
        await all_of_them.pool.unload_idle(10)
        assert all_of_them.names == ["model-1", "model-2"]
    await all_of_them.pool.unload_idle(10)  # unused since just now
    clock.now += 10
    await all_of_them.pool.unload_idle(10)
    assert all_of_them.names == ["model-2"]
    assert all_of_them.pool.status(A) == Status("stored")
    await all_of_them.ask(3, A)
    assert all_of_them.loads["model-0"] == 2


async def test_a_model_that_is_asked_for_while_others_are_unloaded_stays(
    shelf: GetShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the first takes a while: the second was unused when it began and is in use when its turn comes."""
    six = shelf(6)
    for number, wanted in enumerate([A, B]):
        await six.ask(number, wanted)
    async with six.pool.use(B):
        pass
    closing = six.pool._unload

    async def slowly(name: str, entry: Entry, reason: str) -> None:
        await six.pool._get(B, six.pool._entries["model-1"])
        six.pool._entries["model-1"].in_use += 1
        await closing(name, entry, reason)

    monkeypatch.setattr(six.pool, "_unload", slowly)
    await six.pool.unload_idle(0)
    assert six.names == ["model-1"]
    six.pool._entries["model-1"].in_use -= 1


async def test_a_load_that_fails_half_way(shelf: GetShelf) -> None:
    clock = Clock()
    two = shelf(2, clock)
    await two.ask(0, A)
    two.failure = MemoryError("half of the tensors are here")
    two.gate.clear()
    asking = [asyncio.create_task(two.ask(number, B)) for number in range(300)]
    await until(lambda: bool(two.loads["model-1"]))
    await two.ask(1, A)  # another model is not kept waiting
    two.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert Counter(map(str, results)) == {"model-1 could not be loaded (MemoryError).": 300}
    two.failure = None
    await two.ask(2, C)
    assert two.names == ["model-0", "model-2"]  # what failed takes no room
    clock.now += RETRY_FAILED_AFTER_S
    await two.ask(3, B)


async def test_a_model_that_cannot_be_closed_does_not_stop_the_housekeeping(shelf: GetShelf) -> None:
    six = shelf(6)
    for number, wanted in enumerate([A, B]):
        await six.ask(number, wanted)
    backend = six.backends["model-0"]
    backend.close_failure = RuntimeError("driver gone")  # type: ignore[attr-defined]
    await six.pool.unload_idle(0)
    assert six.names == []
    await six.ask(3, A)


async def test_eviction_under_load_that_never_pauses(shelf: GetShelf, patient: None) -> None:
    """Twelve clients ask for models at random: somebody always uses what has to go."""
    two = shelf(2)

    async def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(40):
            number = int(random.integers(6000))
            await two.ask(number, SPECS[number % len(SPECS)])

    await asyncio.wait_for(asyncio.gather(*map(client, range(12))), 2 * PATIENCE_S)
    assert two.most == 2
    assert two.loads.total() > len(SPECS)
    await two.pool.close()
    assert two.closes == two.loads
    assert {backend.closed for backend in two.backends.values()} == {1}


async def test_nothing_is_drained_for_a_model_that_finds_no_room_all_the_same(shelf: GetShelf, patient: None) -> None:
    """It needs more than all that could go: requests of the others are not kept waiting for nothing."""
    three = shelf(3)
    await three.pool.pin(A)
    async with three.pool.use(B):
        three.pool._memory_needed = lambda _: 3 * WEIGHT
        with pytest.raises(ModelUnavailableError, match="needs about"):
            await asyncio.wait_for(three.ask(1, C), PATIENCE_S)
        assert three.pool._entries[B.name].draining is None
        await three.ask(2, B)
    assert three.order == ["+model-0", "+model-1"]  # the unused one was not unloaded in vain either


async def test_a_load_that_finds_room_does_not_wait_for_one_that_drains(shelf: GetShelf, patient: None) -> None:
    three = shelf(3)
    async with three.pool.use(A):
        needed = {B.repo: 3 * WEIGHT}
        three.pool._memory_needed = lambda stored: needed.get(stored.facts.repo, WEIGHT)
        large = asyncio.create_task(three.ask(1, B))
        await until(lambda: three.pool._entries[A.name].draining is not None)
        await asyncio.wait_for(three.ask(2, C), PATIENCE_S)
        assert not large.done()
    await asyncio.wait_for(large, PATIENCE_S)
    assert three.order == ["+model-0", "+model-2", "-model-0", "-model-2", "+model-1"]


async def test_a_running_pass_is_counted_where_room_is_made(shelf: GetShelf) -> None:
    """A text of its length took what was free: the longest unused model goes before the next one comes."""
    three = shelf(3)
    await three.ask(1, A)
    await three.ask(2, B)
    three.pool.memory.reserve(WEIGHT)
    await three.ask(3, C)
    assert three.names == ["model-1", "model-2"]


async def test_passes_know_what_the_models_take(shelf: GetShelf) -> None:
    three = shelf(3)
    assert three.pool.memory.models == 0
    await three.ask(1, A)
    await three.ask(2, B)
    assert three.pool.memory.models == 2 * WEIGHT
    await three.pool.unload(A)
    assert three.pool.memory.models == WEIGHT


async def test_a_forwarded_model_makes_no_room(shelf: GetShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no memory: unloading it would only cost its connections."""
    two = shelf(2)
    await two.ask(1, A)
    loaded = two.pool.loaded()[0]
    monkeypatch.setattr(Entry, "model", property(lambda entry: replace(loaded, memory_bytes=0) if entry.task else None))
    two.pool._memory_needed = lambda _: 3 * WEIGHT
    with pytest.raises(ModelUnavailableError):
        await two.ask(2, B)
    assert not two.closes
