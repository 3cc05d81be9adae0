"""When the engine process ends: with its last worker, and not before."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

import engine_process

FOREVER_S = 3600.0


class Server:
    """As many workers as the test says."""

    def __init__(self) -> None:
        self.workers = 1
        self.shutting_down = False


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(engine_process, "_POLL_S", 0.0)
    monkeypatch.setattr(engine_process, "_ORPHAN_S", FOREVER_S)
    yield Server()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def start(server: Any, grace_s: float = FOREVER_S) -> asyncio.Task[None]:
    """The wait for the last worker."""
    waiting = asyncio.create_task(engine_process._last_worker(server, grace_s))
    await turns()
    return waiting


async def turns() -> None:
    """Let the engine look a few times."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("models", "dealt"),
    [("", ["", "", ""]), ("a", ["a", "a", "a"]), ("ab", ["a", "b", "a"]), ("abcd", ["ad", "b", "c"])],
)
def test_preloaded_models_are_dealt_to_the_devices(models: str, dealt: list[str]) -> None:
    assert ["".join(engine_process.dealt(list(models), index, 3)) for index in range(3)] == dealt


async def test_it_ends_with_the_last_worker_of_a_service_that_ends(server: Server) -> None:
    waiting = await start(server)
    server.workers = 0
    await turns()
    assert not waiting.done()  # BentoML may start another worker
    server.workers, server.shutting_down = 1, True
    await turns()
    assert not waiting.done()
    server.workers = 0
    await waiting


async def test_sigterm_lets_the_workers_end_first(server: Server) -> None:
    waiting = await start(server)
    os.kill(os.getpid(), signal.SIGTERM)
    await turns()
    assert not waiting.done()
    server.workers = 0
    await waiting


async def test_sigterm_is_not_waited_for_without_end(server: Server) -> None:
    waiting = await start(server, grace_s=0)
    await turns()
    assert not waiting.done()
    os.kill(os.getpid(), signal.SIGTERM)
    await waiting


async def test_it_ends_without_workers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = await start(server)
    server.workers = 0
    monkeypatch.setattr(engine_process, "_ORPHAN_S", 0.0)
    await waiting
