"""How a request ends early: at its deadline, when its body stops coming, when its client leaves, at a shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import ClientDisconnect

from api.call import Call
from api.connection import Exchange
from errors import DeadlineError, RequestIncompleteError, ShuttingDownError
from settings import load_settings
from tests.unit.fakes import Clock

SETTINGS = load_settings({"REQUEST_TIMEOUT_S": "50", "CLIENT_TIMEOUT_S": "20"})


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the event loop, which passes only where a test says so."""
    made = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", made)
    return made


async def for_ever() -> None:
    await asyncio.Event().wait()


async def run(work: Callable[[Call], Awaitable[None]]) -> None:
    """Work within a call; afterwards the task is as if nothing had been cancelled."""
    try:
        with Call(SETTINGS) as call:
            await work(call)
    finally:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)


async def test_work_that_ends_in_time_is_not_disturbed() -> None:
    for _ in range(3):
        with Call(SETTINGS) as call:
            call.receiving()
            call.received(Exchange())
            await asyncio.sleep(0)
        call.end(ShuttingDownError("too late"))
        await asyncio.sleep(0)


async def test_the_deadline_counts_from_the_start_of_the_request(clock: Clock) -> None:
    seen: list[float] = []

    async def work(call: Call) -> None:
        for _ in range(3):
            call.receiving()
            clock.now += 15
            await asyncio.sleep(0)
        call.received(Exchange())
        for _ in range(3):
            clock.now += 1
            await asyncio.sleep(0)
            seen.append(clock.now)
        clock.now += 2
        await for_ever()

    started = clock.now
    with pytest.raises(DeadlineError, match=r"50 s \(REQUEST_TIMEOUT_S\)"):
        await run(work)
    assert seen == [started + 46, started + 47, started + 48]


async def test_a_body_that_takes_longer_than_the_deadline(clock: Clock) -> None:
    async def work(call: Call) -> None:
        while True:
            call.receiving()
            clock.now += 15
            await asyncio.sleep(0)

    with pytest.raises(RequestIncompleteError, match="REQUEST_TIMEOUT_S"):
        await run(work)


async def test_a_body_that_stops_coming(clock: Clock) -> None:
    async def work(call: Call) -> None:
        call.receiving()
        clock.now += 20
        await for_ever()

    with pytest.raises(RequestIncompleteError, match=r"20 s \(CLIENT_TIMEOUT_S\)"):
        await run(work)


async def test_a_client_that_leaves() -> None:
    exchange = Exchange()

    async def work(call: Call) -> None:
        call.received(exchange)
        asyncio.get_running_loop().call_soon(exchange.disconnected)
        await for_ever()

    with pytest.raises(ClientDisconnect):
        await run(work)


async def test_the_first_reason_counts() -> None:
    async def work(call: Call) -> None:
        asyncio.get_running_loop().call_soon(call.end, ShuttingDownError("first"))
        asyncio.get_running_loop().call_soon(call.end, ShuttingDownError("second"))
        await for_ever()

    with pytest.raises(ShuttingDownError, match="first"):
        await run(work)


async def test_an_error_of_the_work_itself_is_kept() -> None:
    async def work(call: Call) -> None:
        asyncio.get_running_loop().call_soon(call.end, ShuttingDownError("no"))
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise KeyError from None

    with pytest.raises(KeyError):
        await run(work)


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> None:
        with Call(SETTINGS):
            await for_ever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_an_ended_request_held_does_not_wait_for_the_garbage_collector() -> None:
    class Texts(list[str]):
        """As a list, but a weak reference can tell whether it is still there."""

    held: list[weakref.ref[Texts]] = []

    async def work(call: Call) -> None:
        texts = Texts()
        held.append(weakref.ref(texts))
        call.end(ClientDisconnect())
        await for_ever()

    gc.disable()
    try:
        with contextlib.suppress(ClientDisconnect):
            await run(work)
        assert held[0]() is None
    finally:
        gc.enable()
