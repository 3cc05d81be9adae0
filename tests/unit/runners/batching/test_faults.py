"""Hundreds of requests while something breaks: each gets an answer or an error, and the next one is right."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial

import numpy as np
import pytest

from errors import InternalError, ModelUnavailableError, OverloadedError, ServiceError, ShuttingDownError
from runners.batching import batcher
from runners.contracts import TokenSequence
from runners.engine import Engine
from tests.unit.fakes import PATIENCE_S, Clock, make_engine, until
from tests.unit.runners.faulty_backend import FaultyBackend, Slow, Tearing, answer_of, text

REQUESTS = 400
BUDGET = 64


@pytest.fixture
async def backend() -> AsyncIterator[FaultyBackend]:
    """Lets everything through at the end, so that threads can end."""
    backend = FaultyBackend()
    yield backend
    backend.release()


@pytest.fixture
async def engine(backend: FaultyBackend) -> AsyncIterator[Engine]:
    """An engine over the backend of the test."""
    running = make_engine(backend, max_batch_tokens=BUDGET)
    yield running
    backend.release()
    await asyncio.to_thread(running.close)


async def ask(engine: Engine, number: int, count: int = 1) -> list[list[float]]:
    """One request of `count` texts; the answer is checked against what the fake computes."""
    rows: list[list[float]] = (await engine.run([text(number)] * count)).tolist()
    assert rows == [answer_of(number)] * count
    return rows


async def outcomes(tasks: Sequence[asyncio.Task[list[list[float]]]]) -> Counter[type]:
    """How many requests ended how: `list` is a right answer. Their sum is that of the requests, or this hangs."""
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE_S)
    counted = Counter(type(result) for result in results)
    assert counted.total() == len(tasks)
    return counted


def send(engine: Engine, count: int = REQUESTS, *, texts: int = 1) -> list[asyncio.Task[list[list[float]]]]:
    """So many requests at once, numbered from 1."""
    return [asyncio.create_task(ask(engine, number, texts)) for number in range(1, count + 1)]


async def test_an_exception_in_a_batch_fails_the_bad_inputs_request_only(
    engine: Engine, backend: FaultyBackend
) -> None:
    bad = set(range(7, REQUESTS, 50))
    backend.poison = {number: ValueError("poisoned") for number in bad}
    requests = send(engine)
    assert await outcomes(requests) == {list: REQUESTS - len(bad), ValueError: len(bad)}
    assert {number for number, request in enumerate(requests, start=1) if request.exception()} == bad
    assert engine.local.queued_tokens == 0
    await ask(engine, 1)


async def test_a_model_that_always_fails_fails_everybody_and_recovers(engine: Engine, backend: FaultyBackend) -> None:
    backend.poison = {number: RuntimeError("broken") for number in range(REQUESTS + 1)}
    assert await outcomes(send(engine, texts=3)) == {RuntimeError: REQUESTS}
    backend.poison = {}
    assert await outcomes(send(engine, texts=3)) == {list: REQUESTS}


async def test_out_of_memory_halves_passes_and_everybody_is_answered(
    engine: Engine, backend: FaultyBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.room_tokens = 10  # of 64 that a pass may have; a text has 4
    with caplog.at_level(logging.WARNING, logger="service.engine"):
        assert await outcomes(send(engine)) == {list: REQUESTS}
    assert "tiny is out of memory; batch size reduced to" in caplog.text
    assert backend.refused >= 1
    assert max(backend.sizes_tokens) <= 10


async def test_one_text_that_never_fits_the_memory_fails_alone(engine: Engine, backend: FaultyBackend) -> None:
    backend.room_tokens = 10
    too_large = asyncio.create_task(engine.run([TokenSequence([5] * 40)]))
    assert await outcomes(send(engine)) == {list: REQUESTS}
    with pytest.raises(ModelUnavailableError, match="tiny ran out of memory with an input of 40 tokens") as raised:
        await too_large
    assert raised.value.retry_after_s
    await ask(engine, 1)


async def test_nan_is_computed_again_in_float32(
    engine: Engine, backend: FaultyBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.nan = set(range(7, REQUESTS, 50))
    with caplog.at_level(logging.WARNING, logger="service.engine"):
        assert await outcomes(send(engine)) == {list: REQUESTS}
    assert backend.exact >= 1
    assert "tiny produced NaN or infinity" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_nan_in_float32_too_names_the_model_to_the_request_concerned(
    engine: Engine, backend: FaultyBackend, value: float
) -> None:
    bad = set(range(7, REQUESTS, 50))
    backend.nan = backend.nan_exactly = bad
    backend.strange = value
    requests = send(engine)
    assert await outcomes(requests) == {list: REQUESTS - len(bad), InternalError: len(bad)}
    failed = {number: request.exception() for number, request in enumerate(requests, start=1) if request.exception()}
    assert failed.keys() == bad
    assert {str(error) for error in failed.values()} == {
        "tiny produced NaN or infinity for this input, even in float32."
    }
    backend.nan = backend.nan_exactly = set()
    await ask(engine, 7)


@pytest.mark.parametrize("death", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
async def test_the_worker_thread_outlives_what_kills_threads(
    engine: Engine, backend: FaultyBackend, death: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    bad = set(range(7, REQUESTS, 50))
    backend.poison = {number: death() for number in bad}
    thread = engine.local._batcher._lanes[0].thread
    assert thread is not None
    requests = send(engine)
    counted = await outcomes(requests)
    assert counted.keys() == {list, InternalError}
    assert bad <= {number for number, request in enumerate(requests, start=1) if request.exception()}
    assert counted[InternalError] <= len(bad) * (BUDGET // 4)  # at most the passes that they were in
    assert death.__name__ in str(requests[6].exception())
    backend.poison = {}
    assert await outcomes(send(engine)) == {list: REQUESTS}
    assert engine.local._batcher._lanes[0].thread is thread
    assert thread.is_alive()


async def test_a_pass_that_hangs_is_given_up_and_every_waiter_told(engine: Engine, backend: FaultyBackend) -> None:
    backend.hang()
    requests = send(engine, texts=20)  # some wait for the pass that hangs, others for their turn
    await backend.hanging()
    engine.abort(InternalError("given up"))
    assert await outcomes(requests) == {InternalError: REQUESTS}
    with pytest.raises(ShuttingDownError):
        await ask(engine, 1)
    thread = engine.local._batcher._lanes[0].thread
    assert thread is not None
    assert thread.is_alive()
    backend.release()  # it comes back after all: nobody waits for its rows, and the thread ends
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()


async def test_a_hang_that_ends_in_an_exception_after_being_given_up(engine: Engine, backend: FaultyBackend) -> None:
    backend.poison = {number: ValueError("late") for number in range(REQUESTS + 1)}
    backend.hang()
    requests = send(engine)
    await backend.hanging()
    engine.abort(InternalError("given up"))
    backend.release()
    assert await outcomes(requests) == {InternalError: REQUESTS}
    thread = engine.local._batcher._lanes[0].thread
    assert thread is not None
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()


async def test_how_long_a_pass_has_been_running() -> None:
    clock, backend = Clock(), FaultyBackend()
    engine = make_engine(backend, max_batch_tokens=BUDGET, max_queued_tokens=100, clock=clock)
    assert engine.local.stalled_s == 0
    backend.hang()
    (request,) = send(engine, 1)
    await backend.hanging()
    clock.now += 7
    assert engine.local.stalled_s == 7
    backend.release()
    await request
    await asyncio.to_thread(engine.close)
    assert engine.local.stalled_s == 0


async def test_what_cancelled_clients_asked_for_is_never_computed(engine: Engine, backend: FaultyBackend) -> None:
    backend.hang()
    (first,) = send(engine, 1)
    await backend.hanging()
    leaving = [asyncio.create_task(ask(engine, 1000 + number)) for number in range(REQUESTS)]
    staying = [asyncio.create_task(ask(engine, 5000 + number)) for number in range(REQUESTS)]
    await asyncio.sleep(0)
    for request in leaving:
        request.cancel()
    assert await outcomes(leaving) == {asyncio.CancelledError: REQUESTS}
    backend.release()
    assert await outcomes([first, *staying]) == {list: REQUESTS + 1}
    assert sorted(backend.seen) == [1, *range(5000, 5000 + REQUESTS)]
    assert engine.local.queued_tokens == 0


async def test_what_is_left_of_a_cancelled_request_is_dropped_between_batches(
    engine: Engine, backend: FaultyBackend
) -> None:
    backend.hang()
    bulk = [asyncio.create_task(ask(engine, 1000 + number, 64)) for number in range(200)]
    await backend.hanging()
    for request in bulk:
        request.cancel()
    assert await outcomes(bulk) == {asyncio.CancelledError: 200}
    assert engine.local.queued_tokens == 0
    backend.release()
    assert await outcomes(send(engine)) == {list: REQUESTS}
    assert sum(number >= 1000 for number in backend.seen) <= BUDGET // 4  # the pass that was running


async def test_deadlines_while_others_go_on(engine: Engine, backend: FaultyBackend) -> None:
    """A deadline is a cancellation from inside: half of the requests have one that is over at once."""

    async def hurried(number: int) -> list[list[float]]:
        async with asyncio.timeout(0):
            return await ask(engine, number)

    requests = [
        asyncio.create_task(hurried(number) if number % 2 else ask(engine, number)) for number in range(2, REQUESTS + 2)
    ]
    assert await outcomes(requests) == {list: REQUESTS // 2, TimeoutError: REQUESTS // 2}
    await ask(engine, 1)
    assert engine.local.queued_tokens == 0


def _holds(engine: Engine, tokens: int) -> bool:
    return engine.local.queued_tokens >= tokens


async def test_retry_after_grows_with_the_queue() -> None:
    clock, waits = Clock(), []
    for limit in (40, 160, 100_000):
        backend = Slow(clock, seconds=1)  # a pass of one text
        engine = make_engine(backend, max_batch_tokens=4, max_queued_tokens=limit, clock=clock)
        await ask(engine, 1)
        backend.hang()
        (first,) = send(engine, 1)
        await backend.hanging()
        admitted = send(engine, limit // 4) if limit < 1000 else [asyncio.create_task(ask(engine, 1, limit // 4))]
        await until(partial(_holds, engine, limit // 4 * 4))
        refused = [asyncio.create_task(ask(engine, number)) for number in range(REQUESTS)]
        assert await outcomes(refused) == {OverloadedError: REQUESTS}
        (wait,) = {error.retry_after_s for task in refused if isinstance(error := task.exception(), ServiceError)}
        waits.append(wait)
        if limit > 1000:
            admitted[0].cancel()
            assert await outcomes(admitted) == {asyncio.CancelledError: 1}
            admitted = []
        backend.release()
        assert await outcomes([first, *admitted]) == {list: 1 + len(admitted)}
        await ask(engine, 1)
        await asyncio.to_thread(engine.close)
    # 4 tokens a second, until half of the queue is gone; the longest wait is a minute
    assert waits == [40 // 4 // 2, 160 // 4 // 2, batcher.MAX_RETRY_AFTER_S]


async def test_close_while_hundreds_wait(engine: Engine, backend: FaultyBackend) -> None:
    backend.hang()
    requests = send(engine, texts=3)
    await backend.hanging()
    closing = asyncio.create_task(asyncio.to_thread(engine.close))
    waiting = [request for request in requests if not request.done()]
    await until(lambda: any(request.done() for request in requests))
    backend.release()
    await asyncio.wait_for(closing, PATIENCE_S)
    counted = await outcomes(requests)
    assert counted.keys() <= {list, ShuttingDownError}
    assert counted[ShuttingDownError] >= len(waiting) - BUDGET // 4
    assert backend.closed == 1
    with pytest.raises(ShuttingDownError):
        await engine.run([text(1)])


async def test_everything_goes_wrong_at_once() -> None:
    backend = Tearing()
    engine = make_engine(backend)
    requests = send(engine, texts=4)
    for request in requests[::9]:
        asyncio.get_running_loop().call_soon(request.cancel)
    counted = await outcomes(requests)
    assert counted.keys() <= {list, InternalError, ModelUnavailableError, ValueError, asyncio.CancelledError}
    assert engine.local.queued_tokens == 0
    await asyncio.to_thread(engine.close)
