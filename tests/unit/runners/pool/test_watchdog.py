"""Models that hang: every waiter is told, the next request loads anew, and a second time only a restart helps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from errors import InternalError, ModelUnavailableError, ShuttingDownError
from runners.batching.costs import Costs
from runners.batching.health import FAILURES
from runners.batching.throughput import Throughput
from runners.contracts import BatchShape, OutOfMemoryError
from runners.loaded_model import Status
from runners.pool import model_pool, watchdog
from tests.unit.fakes import PATIENCE_S, Clock, until
from tests.unit.runners.faulty_backend import FaultyBackend
from tests.unit.runners.pool.shelf import SPECS, TRIAL, Shelf

A, B, *_ = SPECS
REQUESTS = 400
LIMIT_S = 300.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def shelf(clock: Clock) -> AsyncIterator[Shelf]:
    """Room for one model besides the one that hangs."""
    shelf = Shelf(2, clock)
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


async def given_up(shelf: Shelf, tasks: list[asyncio.Task[list[float]]]) -> None:
    """The limit passes, and every request is told."""
    assert shelf.clock is not None
    shelf.clock.now += LIMIT_S
    shelf.pool.abort_stalled(LIMIT_S)
    assert (await told(tasks)).total() == len(tasks)


async def test_a_model_that_hangs_is_given_up_and_loaded_anew(shelf: Shelf, clock: Clock) -> None:
    backend, tasks = await hang(shelf)
    clock.now += LIMIT_S - 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert not any(task.done() for task in tasks)
    clock.now += 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert await told(tasks) == {"model-0 stopped responding and is being reloaded. Try again.": REQUESTS}
    assert shelf.pool.status(A) == Status("stored")
    assert shelf.pool.watchdog.alive
    await asyncio.gather(*(shelf.ask(number, A) for number in range(REQUESTS)))
    assert shelf.loads[A.name] == 2
    assert backend.closed == 0
    backend.release()  # the pass comes back after all
    await until(lambda: backend.closed == 1)


async def test_a_second_hang_ends_life(shelf: Shelf, clock: Clock) -> None:
    for alive in (True, False):
        backend, tasks = await hang(shelf)
        await given_up(shelf, tasks)
        assert shelf.pool.watchdog.alive is alive
        backend.release()
    await shelf.ask(1, A)  # alive or not, the next one is right


async def test_another_model_is_served_meanwhile_and_not_given_up(shelf: Shelf, clock: Clock) -> None:
    backend, tasks = await hang(shelf)
    await asyncio.gather(*(shelf.ask(number, B) for number in range(REQUESTS)))
    await given_up(shelf, tasks)
    assert shelf.names == [B.name]
    await shelf.ask(1, B)
    assert shelf.loads[B.name] == 1
    backend.release()


async def test_waiters_that_left_do_not_hide_a_hang(shelf: Shelf, clock: Clock) -> None:
    """Their deadline comes before the watchdog's, and a model that nobody uses would be closed, which waits."""
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


async def test_a_model_that_hangs_while_another_waits_for_its_room(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_pool, "DRAIN_PATIENCE_S", 2 * PATIENCE_S)  # longer than the test would wait
    one = Shelf(1, clock)
    backend, tasks = await hang(one)
    other = asyncio.create_task(one.ask(2, B))
    await until(lambda: one.pool._entries[A.name].draining is not None)
    await given_up(one, tasks)
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


async def test_many_models_hang_at_once(clock: Clock) -> None:
    six = Shelf(6, clock)
    for wanted in SPECS:
        await six.ask(1, wanted)
        six.backends[wanted.name].hang()
    hanging: list[Callable[[], None]] = [backend.release for backend in six.backends.values()]
    tasks = [asyncio.create_task(six.ask(number, wanted)) for wanted in SPECS for number in range(100)]
    await asyncio.gather(*(backend.hanging() for backend in six.backends.values()))
    await given_up(six, tasks)
    assert six.pool.watchdog.alive
    await asyncio.gather(*(six.ask(number, wanted) for wanted in SPECS for number in range(100)))
    for release in hanging:
        release()
    await six.pool.close()
    await until(lambda: six.closes == six.loads)


async def test_a_load_that_never_ends_ends_life(shelf: Shelf, clock: Clock) -> None:
    """Loads take turns, so all that come after it would wait for ever."""
    shelf.gate.clear()
    loading = asyncio.create_task(shelf.ask(1, A))
    await until(lambda: A.name in shelf.pool._entries and shelf.pool._entries[A.name].loading_since is not None)
    clock.now += watchdog.LONGEST_LOAD_S - 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert shelf.pool.watchdog.alive
    clock.now += 1
    shelf.pool.abort_stalled(LIMIT_S)
    assert not shelf.pool.watchdog.alive
    shelf.gate.set()
    await loading


SLOW_S = 400.0
"""A pass of a text of four tokens, longer than LIMIT_S."""


@pytest.fixture
async def slow(shelf: Shelf) -> FaultyBackend:
    """The backend of A, which always takes that long."""
    shelf.pass_s, shelf.costs = SLOW_S, Costs(SLOW_S, 0.0)
    await shelf.ask(1, A)
    return shelf.backends[A.name]


async def delayed(shelf: Shelf, backend: FaultyBackend, seconds: float) -> asyncio.Task[list[float]]:
    """A request whose pass takes longer than usual, and what the watchdog thinks of it."""
    backend.hang()
    asked = asyncio.create_task(shelf.ask(2, A))
    await backend.hanging()
    assert shelf.clock is not None
    shelf.clock.now += seconds
    shelf.pool.abort_stalled(LIMIT_S)
    backend.release()
    return asked


async def test_a_slow_pass_is_not_a_hung_one(shelf: Shelf, slow: FaultyBackend) -> None:
    """Up to ten times the expected time."""
    for _ in range(3):  # more than the faults that end a process
        assert (await (await delayed(shelf, slow, 3 * SLOW_S)))[0] == 2
    assert (shelf.loads[A.name], shelf.pool.watchdog.alive) == (1, True)


async def test_a_pass_that_takes_far_longer_than_expected_hangs(shelf: Shelf, slow: FaultyBackend) -> None:
    with pytest.raises(InternalError, match="stopped responding"):
        await (await delayed(shelf, slow, 11 * SLOW_S))


async def test_the_speed_is_measured_with_each_pass(shelf: Shelf, slow: FaultyBackend) -> None:
    """Others use the processor, and the model becomes ten times slower than it was at load."""
    shelf.pass_s = 10 * SLOW_S
    for _ in range(10):
        await shelf.ask(1, A)
    assert (await (await delayed(shelf, slow, 40 * SLOW_S)))[0] == 2


async def test_a_long_text_takes_more_time_for_each_token() -> None:
    """Attention: a text of 8,192 tokens may take nine times as long a token as a short one."""
    throughput = Throughput("tiny", 1.0, Costs(0.0, 0.01))
    assert throughput.expected_s(BatchShape.of([8192])) == pytest.approx(9 * 81.92)
    assert throughput.expected_s(BatchShape.of([64] * 128)) == pytest.approx(81.92, rel=0.1)


async def test_a_hang_of_long_ago_is_forgotten(shelf: Shelf, clock: Clock) -> None:
    for _ in range(3):
        backend, tasks = await hang(shelf, requests=1)
        await given_up(shelf, tasks)
        assert shelf.pool.watchdog.alive
        backend.release()
        clock.now += watchdog.FORGET_FAULT_S + 1
    await shelf.ask(1, A)


@pytest.fixture
def lost(shelf: Shelf) -> Callable[[], Awaitable[None]]:
    """Makes every pass of A fail, until that is noticed."""

    async def lose() -> None:
        await shelf.ask(1, A)
        shelf.backends[A.name].poison = {
            number: RuntimeError("CUDA error: unspecified") for number in (*range(9), TRIAL)
        }
        asked = [asyncio.create_task(shelf.ask(number, A)) for number in range(9)]
        results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE_S)
        assert {type(result) for result in results} == {RuntimeError}

    return lose


async def test_a_lost_device_is_noticed_loaded_once_more_and_then_the_end(
    shelf: Shelf, lost: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    for alive in (True, False):
        await lost()
        shelf.pool.abort_stalled(LIMIT_S)
        assert shelf.pool.status(A) == Status("stored")
        assert shelf.pool.watchdog.alive is alive
    assert shelf.loads[A.name] == 2
    assert "model-0 failed 5 passes in a row and the trial text as well: RuntimeError: CUDA" in caplog.text
    assert "must be restarted and reports that it is not alive: model-0 failed again after it was" in caplog.text


async def test_a_device_that_does_not_come_back_ends_life_at_once(
    shelf: Shelf, lost: Callable[[], Awaitable[None]]
) -> None:
    """After a sticky CUDA error no load goes well in this process."""
    await lost()
    shelf.pool.abort_stalled(LIMIT_S)
    shelf.failure = RuntimeError("CUDA error: unspecified")
    with pytest.raises(ModelUnavailableError):
        await shelf.ask(1, A)
    assert not shelf.pool.watchdog.alive


async def test_a_load_that_fails_for_the_first_time_is_no_lost_device(shelf: Shelf) -> None:
    shelf.failure = RuntimeError("half of the file")
    with pytest.raises(ModelUnavailableError):
        await shelf.ask(1, A)
    assert shelf.pool.watchdog.alive
    shelf.failure = None


@pytest.mark.parametrize("error", [RuntimeError("strange token"), OutOfMemoryError("no room"), None], ids=str)
async def test_bad_inputs_short_memory_and_nan_are_no_lost_device(shelf: Shelf, error: Exception | None) -> None:
    """However often they come, and nothing else."""
    await shelf.ask(1, A)
    backend = shelf.backends[A.name]
    if error is None:
        backend.nan = backend.nan_exactly = {2, TRIAL}
    else:
        backend.poison = {2: error}
    for _ in range(4 * FAILURES):
        with pytest.raises((RuntimeError, ModelUnavailableError, InternalError)):
            await shelf.ask(2, A)
    shelf.pool.abort_stalled(LIMIT_S)
    assert shelf.loads[A.name] == 1
    assert (await shelf.ask(1, A))[0] == 1


async def test_a_model_that_cannot_be_closed_is_given_up_all_the_same(
    shelf: Shelf, lost: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    await lost()
    shelf.backends[A.name].close_failure = RuntimeError("driver gone")  # type: ignore[attr-defined]
    shelf.pool.abort_stalled(LIMIT_S)
    await until(lambda: "closing model-0 failed" in caplog.text)
    await shelf.ask(1, A)
