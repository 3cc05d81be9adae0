"""The memory budget: passes share what the models leave, and what does not fit is refused with the numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from errors import InputTooLongError, InternalError, ModelUnavailableError
from runners.contracts import BatchShape, Rows, TokenSequence, TokenSequences
from runners.engine import Engine
from runners.pool.memory import DeviceMemory, PassMemory
from tests.unit.fakes import PATIENCE_S, make_engine, until
from tests.unit.runners.faulty_backend import FaultyBackend, answer_of, text

MakeEngine = Callable[..., Engine]

GB = 10**9
SIZE = BatchShape.of([4])


class Hungry(FaultyBackend):
    """A pass takes a gigabyte for each token of its longest text; the clock of a leak is `taken`."""

    def __init__(self) -> None:
        super().__init__()
        self.longest: list[int] = []

    def pass_bytes(self, size: BatchShape) -> int:
        return size.longest * GB

    def forward(self, sequences: TokenSequences) -> Rows:
        self.longest.append(max(map(len, sequences)))
        return super().forward(sequences)


@pytest.fixture
def device() -> DeviceMemory:
    """Ten gigabytes, of which models take two."""
    made = DeviceMemory(10 * GB)
    made.models = 2 * GB
    return made


@pytest.fixture
async def engine(device: DeviceMemory) -> AsyncIterator[MakeEngine]:
    """Makes engines whose models take two gigabytes of the device, and closes them at the end."""
    made: list[Engine] = []

    def make(backend: Hungry, device: DeviceMemory = device, *, included: int = 0) -> Engine:
        memory = PassMemory(device, backend.pass_bytes, model_bytes=2 * GB, included_bytes=included)
        made.append(make_engine(backend, memory=memory))
        return made[-1]

    yield make
    for running in made:
        await asyncio.to_thread(running.close)


async def test_a_text_that_never_fits_is_refused_before_it_waits(device: DeviceMemory, engine: MakeEngine) -> None:
    backend = Hungry()
    running = engine(backend)
    with pytest.raises(InputTooLongError) as raised:
        await running.run([text(1), TokenSequence([2] * 9)])
    assert str(raised.value) == (
        "An input of 9 tokens needs about 9 GB for its forward pass on this machine; the model leaves 8 GB of the "
        "memory budget of 10 GB (MEMORY_FRACTION). Send a shorter input, or run the service on a machine with more "
        "memory."
    )
    assert raised.value.status == 400
    assert backend.longest == []
    assert (await running.run([TokenSequence([2] * 8)])).shape == (1, 3)


async def test_what_other_models_take_is_said_and_passes(device: DeviceMemory, engine: MakeEngine) -> None:
    running = engine(Hungry())
    device.models = 8 * GB
    with pytest.raises(
        ModelUnavailableError, match=r"the models in memory leave 2 GB .*MEMORY_FRACTION.*unload"
    ) as raised:
        await running.run([text(1)])
    assert (raised.value.status, raised.value.retry_after_s) == (503, 5)
    device.models = 6 * GB
    assert (await running.run([text(1)])).tolist() == [answer_of(1)]


async def test_models_that_came_meanwhile_refuse_a_text_that_waits(device: DeviceMemory, engine: MakeEngine) -> None:
    backend = Hungry()
    running = engine(backend)
    backend.hang()
    first = asyncio.create_task(running.run([text(1)]))
    await backend.hanging()
    second = asyncio.create_task(running.run([TokenSequence([2] * 8)]))
    await until(lambda: running.local.queued_tokens == 8)
    device.models = 6 * GB
    backend.release()
    assert (await first).tolist() == [answer_of(1)]
    with pytest.raises(ModelUnavailableError, match="the models in memory leave 4 GB"):
        await second


async def test_passes_of_two_models_take_turns_where_both_do_not_fit(device: DeviceMemory, engine: MakeEngine) -> None:
    backends = Hungry(), Hungry()
    engines = [engine(backend) for backend in backends]
    backends[0].hang()
    first = asyncio.create_task(engines[0].run([TokenSequence([1] * 5)]))
    await backends[0].hanging()
    second = asyncio.create_task(engines[1].run([TokenSequence([1] * 5)]))
    third = asyncio.create_task(engines[1].run([TokenSequence([1] * 3)]))
    await until(lambda: waits(device) or bool(backends[1].longest))
    assert backends[1].longest == []
    assert engines[1].local.stalled_s == 0  # waiting for memory is no hang
    backends[0].release()
    await asyncio.wait_for(asyncio.gather(first, second, third), PATIENCE_S)
    assert device.passes == 0


async def test_a_pass_that_hangs_and_is_given_up_frees_its_memory(device: DeviceMemory, engine: MakeEngine) -> None:
    backends = Hungry(), Hungry()
    engines = [engine(backend) for backend in backends]
    backends[0].hang()
    first = asyncio.create_task(engines[0].run([TokenSequence([1] * 8)]))
    await backends[0].hanging()
    second = asyncio.create_task(engines[1].run([TokenSequence([1] * 8)]))
    engines[0].abort(InternalError("given up"))
    assert (await asyncio.wait_for(second, PATIENCE_S)).shape == (1, 3)
    with pytest.raises(InternalError):
        await first
    backends[0].release()
    for running in engines:
        await asyncio.to_thread(running.close)
    assert device.passes == 0


async def test_texts_that_fit_alone_are_computed_one_by_one(device: DeviceMemory, engine: MakeEngine) -> None:
    """A pass is halved as after an error of the device, and each text gets its own answer."""

    class Wide(Hungry):
        def pass_bytes(self, size: BatchShape) -> int:
            return 5 * GB * size.count

    backend = Wide()
    running = engine(backend)
    rows = await running.run([text(number) for number in range(8)])
    assert rows.tolist() == [answer_of(number) for number in range(8)]
    assert len(backend.longest) == 8


async def test_the_models_own_share_needs_no_room(device: DeviceMemory, engine: MakeEngine) -> None:
    """Models may fill the budget: ordinary passes were counted with them."""
    device.models = 11 * GB
    running = engine(Hungry(), included=4 * GB)
    assert (await running.run([text(1)])).tolist() == [answer_of(1)]
    assert device.passes == 0


async def test_without_a_budget_nothing_is_refused(engine: MakeEngine) -> None:
    running = engine(Hungry(), DeviceMemory())
    assert (await running.run([TokenSequence([1] * 60)])).shape == (1, 3)


def waits(device: DeviceMemory) -> bool:
    """Whether a pass waits for memory."""
    return bool(device._changed._waiters)  # type: ignore[attr-defined]  # of threading.Condition


@pytest.mark.parametrize("give_back", [lambda memory: None, lambda memory: memory.release()])
def test_memory_is_given_back_once(device: DeviceMemory, give_back: Callable[[object], None]) -> None:
    memory = PassMemory(device, lambda _: 3 * GB)
    with memory.reserved(SIZE) as reservation:
        assert device.passes == 3 * GB
        give_back(reservation)
    assert device.passes == 0
