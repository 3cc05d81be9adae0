"""A server that returns the same bytes for all requests, to measure the load generator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import cast

from benchmarks.client import content_length


class Trivial(asyncio.Protocol):
    """Reads whole requests and writes the prepared response."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or len(self._buffer) < head + 4 + content_length(self._buffer[: head + 2]):
            return
        self._buffer = b""
        assert self._transport is not None
        self._transport.write(self._answer)


def prepared_answer() -> bytes:
    """A response with one vector of 384 dimensions."""
    vector = [0.012345678 * (-1) ** number for number in range(384)]
    body = json.dumps({"data": [{"object": "embedding", "index": 0, "embedding": vector}]}, separators=(",", ":"))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def serve(port: int) -> None:
    """Listen until the process is stopped."""
    answer = prepared_answer()
    server = await asyncio.get_running_loop().create_server(lambda: Trivial(answer), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(int(sys.argv[1])))
