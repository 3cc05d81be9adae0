"""The load generator: closed-loop HTTP/1.1 connections in a separate process.

It checks only status, length and number of items of a response. `python -m benchmarks.client` reads a Load as JSON from
standard input and prints a Report as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from benchmarks.statistics import Call

MARK = b'"index":'
"""Text that occurs once per item of a response, in compact and in spaced JSON."""


@dataclass(frozen=True)
class Request:
    """A body, its path, and the expected number of items in the response."""

    port: int
    path: str
    body: str
    items: int


@dataclass(frozen=True)
class Group:
    """Connections that cycle through the same requests, each from another start."""

    name: str
    connections: int
    requests: list[Request]
    pause_s: float = 0.0


@dataclass(frozen=True)
class Load:
    """Groups that run at the same time.

    The window of measurement opens once each connection has had a response and `warm_up_s` have passed. All connections
    go on until the requests of the window are answered. Without that, requests at the start would find an empty queue:
    for 8 connections, a server that answers in order of arrival would seem 60 % faster than it is if the window has
    time for 6 requests, and a server that computes all of them at once would not.
    """

    groups: list[Group]
    window_s: float
    warm_up_s: float = 0.0
    timeout_s: float = 600.0


@dataclass
class Report:
    """All calls of all groups, also those outside the window, the errors, and the generator's CPU time."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0


class Window:
    """When the measurement begins, and when all requests sent in it are answered."""

    def __init__(self, load: Load, connections: int) -> None:
        self.opens_s: float | None = None
        self._load = load
        self._connections = connections
        self._answered: set[object] = set()
        """Connections with a response so far."""
        self._running: dict[object, float] = {}
        """Connection -> when it sent the request that is not answered yet."""

    def sent(self, connection: object, now_s: float) -> None:
        """A connection has sent a request."""
        self._running[connection] = now_s

    def answered(self, connection: object, now_s: float) -> None:
        """A connection has a response."""
        del self._running[connection]
        self._answered.add(connection)
        all_answered = len(self._answered) == self._connections
        if self.opens_s is None and all_answered and now_s >= self._load.warm_up_s:
            self.opens_s = now_s

    def is_over(self, now_s: float) -> bool:
        """Whether no request is needed any more."""
        if self.opens_s is None:
            return False
        end = self.opens_s + self._load.window_s
        return now_s >= end and all(sent >= end for sent in self._running.values())


class Connection(asyncio.Protocol):
    """A keep-alive connection with at most one running request."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._need = -1
        self._transport: asyncio.Transport | None = None
        self.head = b""
        """The status line and the headers of the last response."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, message: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; return the status and body of the response."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer.clear()
        self._need = -1
        self._transport.write(message)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._answer is None or self._answer.done():
            return
        if self._need < 0:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            try:
                self._need = head + 4 + content_length(bytes(self._buffer[: head + 2]))
            except ValueError as error:
                self._answer.set_exception(error)
                return
        if len(self._buffer) >= self._need:
            status = int(self._buffer[9:12])
            end = self._buffer.find(b"\r\n\r\n")
            self.head, body = bytes(self._buffer[:end]), bytes(self._buffer[end + 4 : self._need])
            self._answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    @property
    def closed(self) -> bool:
        """Whether the server or this side has closed the connection."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def content_length(head: bytes) -> int:
    """Content-Length of a response head."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise ValueError("the answer has no Content-Length; this client reads no chunked bodies")


def http_message(request: Request) -> bytes:
    """The bytes of a POST request."""
    body = request.body.encode()
    head = (
        f"POST {request.path} HTTP/1.1\r\nHost: 127.0.0.1:{request.port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def count_items(body: bytes) -> int:
    """Vectors or results of a response; `data` of a ranking, Voyage's format, repeats its `results`."""
    start = body.find(b'"results":')
    end = body.find(b'"data":', start) if start >= 0 else -1
    return body.count(MARK, max(start, 0), end if end >= 0 else len(body))


def fault(request: Request, status: int, body: bytes) -> str | None:
    """The error of a response; None if it is correct."""
    if status != 200:
        return f"{request.path} answered {status}: {body[:200].decode(errors='replace')}"
    items = count_items(body)
    if items != request.items:
        return f"{request.path} answered {items} items instead of {request.items}"
    return None


async def run(load: Load) -> Report:
    """Send the load and return the report."""
    report = Report(calls={group.name: [] for group in load.groups})
    start, cpu = time.perf_counter(), time.process_time()
    window, stop = Window(load, sum(group.connections for group in load.groups)), asyncio.Event()
    tasks = []
    for group in load.groups:
        prepared = [(request, http_message(request)) for request in group.requests]
        for number in range(group.connections):
            offset = number * len(prepared) // group.connections
            turn = itertools.islice(itertools.cycle(prepared), offset, None)
            tasks.append(asyncio.create_task(_converse(group, turn, window, start, report, stop)))
    done, pending = await asyncio.wait(tasks, timeout=load.timeout_s)
    for task in pending:
        task.cancel()
    if pending:
        report.errors.append(f"{len(pending)} connections waited longer than {load.timeout_s:g} s")
    for task in done:
        if (error := task.exception()) is not None:
            report.errors.append(f"{type(error).__name__}: {error}")
    opens_s = window.opens_s or 0.0
    for name, calls in report.calls.items():
        report.calls[name] = [Call(call.sent_s - opens_s, call.answered_s - opens_s, call.items) for call in calls]
    report.wall_s = time.perf_counter() - start
    report.cpu_s = time.process_time() - cpu
    return report


async def _converse(
    group: Group,
    turn: Iterator[tuple[Request, bytes]],
    window: Window,
    start: float,
    report: Report,
    stop: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    open_to: dict[int, Connection] = {}
    calls, me = report.calls[group.name], object()
    try:
        for request, message in turn:
            if stop.is_set() or window.is_over(time.perf_counter() - start):
                return
            if request.port not in open_to:
                _, open_to[request.port] = await loop.create_connection(Connection, "127.0.0.1", request.port)
            sent = time.perf_counter() - start
            window.sent(me, sent)
            status, body = await open_to[request.port].send(message)
            answered = time.perf_counter() - start
            if (problem := fault(request, status, body)) is not None:
                report.errors.append(problem)
                stop.set()
                return
            calls.append(Call(sent, answered, request.items))
            window.answered(me, answered)
            if group.pause_s:
                await asyncio.sleep(group.pause_s)
    except BaseException:
        stop.set()
        raise
    finally:
        for connection in open_to.values():
            connection.close()


def load_from(content: dict[str, Any]) -> Load:
    """A Load from its JSON."""
    groups = [
        Group(**group | {"requests": [Request(**request) for request in group["requests"]]})
        for group in content["groups"]
    ]
    return Load(**content | {"groups": groups})


def report_from(content: dict[str, Any]) -> Report:
    """A Report from its JSON."""
    calls = {name: [Call(*call) for call in found] for name, found in content["calls"].items()}
    return Report(**content | {"calls": calls})


def main() -> None:
    """Read a Load from standard input and print its Report."""
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    report = asyncio.run(run(load_from(json.load(sys.stdin))))
    calls = {n: [(call.sent_s, call.answered_s, call.items) for call in found] for n, found in report.calls.items()}
    json.dump(asdict(report) | {"calls": calls}, sys.stdout)


if __name__ == "__main__":
    main()
