"""Sends a trace of requests to real replicas: at its times, whether or not earlier requests have an answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.client import Connection, http_message
from benchmarks.client import Request as HttpRequest
from benchmarks.fleet.replica import Answer
from benchmarks.fleet.traffic import Request
from benchmarks.frontend import MODEL
from benchmarks.rows import EMBEDDINGS

_QUEUE = re.compile(rb"queue;dur=([\d.]+)")

_WORDS = ("the", "of", "and", "in", "to", "was", "is", "for")
"""One token each. Texts of one request differ in their word, because equal texts would be computed once."""
_SPECIAL_TOKENS = 2
"""What the model adds to each text."""


class OpenLoop:
    """A client with least-connections balancing, as in balancing.py."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turn = 0
        self._running: Counter[int] = Counter()
        self.idle: dict[int, list[Connection]] = defaultdict(list)
        self.late_s = 0.0
        """The longest delay between the time of a request and its sending."""

    async def send(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers, in any order. ConnectionError or ValueError if one is no embedding."""
        messages = [_message(request) for request in requests]
        begin = time.perf_counter()
        tasks = []
        for request, message in zip(requests, messages, strict=True):
            await asyncio.sleep(request.arrives_s - (time.perf_counter() - begin))
            self.late_s = max(self.late_s, time.perf_counter() - begin - request.arrives_s)
            tasks.append(asyncio.create_task(self._call(request, message, begin)))
        return await asyncio.gather(*tasks)

    def close(self) -> None:
        """Close all connections."""
        for connections in self.idle.values():
            for connection in connections:
                connection.close()

    async def _call(self, request: Request, message: bytes, begin: float) -> Answer:
        self._turn += 1
        turn = self._turn % len(self._ports)
        port = min([*self._ports[turn:], *self._ports[:turn]], key=self._running.__getitem__)
        self._running[port] += 1
        connection = await self._connection(port)
        status, body = await connection.send(message)
        answered_s = time.perf_counter() - begin
        self._running[port] -= 1
        self.idle[port].append(connection)
        if status != 200:
            raise ValueError(f"{status} {body[:200].decode(errors='replace')}")
        queued = _QUEUE.search(connection.head)
        return Answer(request, answered_s, float(queued[1]) / 1000 if queued else 0.0)

    async def _connection(self, port: int) -> Connection:
        idle = self.idle[port]
        while idle:
            if not (connection := idle.pop()).closed:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
        return connection


def _message(request: Request) -> bytes:
    """A request of /v1/embeddings whose texts have exactly these numbers of tokens."""
    words = zip(itertools.cycle(_WORDS), request.lengths)
    texts = [" ".join([word] * (length - _SPECIAL_TOKENS)) for word, length in words]
    body = json.dumps({"model": MODEL, "input": texts, "encoding_format": "base64"})
    return http_message(HttpRequest(0, EMBEDDINGS, body, len(texts)))
