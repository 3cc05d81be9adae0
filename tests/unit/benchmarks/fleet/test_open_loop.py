"""The client that sends a trace to real replicas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.client import content_length
from benchmarks.fleet.open_loop import OpenLoop
from benchmarks.fleet.traffic import Request
from tests.unit.fakes import until

ANSWER = b"HTTP/1.1 %d OK\r\nServer-Timing: queue;dur=12.50, total;dur=20.00\r\nContent-Length: 2\r\n\r\n{}"
LENGTHS = (5, 9, 9)


class Server:
    """Answers each request, with one status; `closes` the connection after it."""

    def __init__(self, status: int, *, closes: bool) -> None:
        self.bodies: list[bytes] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._status = status
        self._closes = closes

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.bodies.append(await reader.readexactly(content_length(head[:-2])))
                writer.write(ANSWER % self._status)
                if self._closes:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def served(status: int = 200, *, closes: bool = False) -> AsyncIterator[tuple[list[Server], OpenLoop]]:
    """Two servers and their client."""
    servers = [Server(status, closes=closes) for _ in range(2)]
    listeners = [await asyncio.start_server(server.converse, "127.0.0.1", 0) for server in servers]
    client = OpenLoop([listener.sockets[0].getsockname()[1] for listener in listeners])
    try:
        yield servers, client
    finally:
        client.close()
        for listener in listeners:
            listener.close()
        await asyncio.gather(*(task for server in servers for task in server.tasks))


async def test_requests_are_balanced_and_their_time_in_the_queue_is_read() -> None:
    requests = [Request("bulk", 0.0, LENGTHS)] * 6
    async with served() as (servers, client):
        answers = await client.send(requests)
    assert [len(server.bodies) for server in servers] == [3, 3]
    assert [answer.queue_s for answer in answers] == [0.0125] * 6
    texts = json.loads(servers[0].bodies[0])["input"]
    assert [len(text.split()) + 2 for text in texts] == list(LENGTHS)  # with [CLS] and [SEP]
    assert len(set(texts)) == len(texts)


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async with served(closes=True) as (servers, client):
        for _ in range(4):
            await client.send([Request("search", 0.0, (5,))])
            await until(lambda: all(each.closed for connections in client.idle.values() for each in connections))
    assert sum(len(server.bodies) for server in servers) == 4


async def test_an_error_ends_the_measurement() -> None:
    async with served(status=429) as (_, client):
        with pytest.raises(ValueError, match="429"):
            await client.send([Request("search", 0.0, (5,))])
