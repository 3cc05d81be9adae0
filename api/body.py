"""Reads request bodies within their limits, decodes them, and counts their memory until the response is sent."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect

from errors import BodyTooLargeError, InvalidRequestError, OverloadedError, UnsupportedEncodingError
from runners.devices import return_memory
from settings import Settings

SMALL_BODY_BYTES = 65_536
"""Bodies up to this size are never rejected for MAX_HELD_BODY_BYTES, and are decoded on the event loop."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = zlib.MAX_WBITS | 16
_ENCODINGS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
"""Content-Encoding -> window bits that tell zlib the format. Some clients send deflate without zlib's header."""
_RETRY_AFTER_S = 5
_RETURN_AFTER_BYTES = 2**24
"""The C library keeps freed memory: several times the size of a body. Returning it takes milliseconds."""

Receive = Callable[[], Awaitable[Any]]


async def receive_parts(receive: Receive, progress: Callable[[], None]) -> AsyncIterator[bytes]:
    """The parts of a body as they arrive. `progress` is called after each part but the last; ClientDisconnect."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        yield message.get("body", b"")
        if more:
            progress()


class BodyBudget:
    """Memory for the bodies of all requests that this worker is receiving or answering."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.max_held_body_bytes
        self.max_body_bytes = settings.max_body_bytes
        self.held_bytes = 0
        self._released_bytes = 0

    def take(self, more: int, size: int) -> None:
        """Count `more` bytes of a body that now has `size`; OverloadedError if they exceed the limit."""
        if size > SMALL_BODY_BYTES and self.held_bytes + more > self._limit:
            raise OverloadedError(
                f"The bodies of other requests hold {self.held_bytes} bytes, and the limit for all is {self._limit} "
                "(MAX_HELD_BODY_BYTES). Try again later, or send smaller bodies.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.held_bytes += more

    def release(self, size: int) -> None:
        """Release a body of `size` bytes."""
        self.held_bytes -= size
        self._released_bytes += size

    def return_memory(self) -> None:
        """Return the memory of released bodies to the system if there is enough. Call this periodically."""
        if self._released_bytes >= _RETURN_AFTER_BYTES:
            self._released_bytes = 0
            return_memory()


class BodyReader:
    """Reads the body of one request. Call `close` once the request has ended."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._limit = budget.max_body_bytes
        self._held = 0

    async def read(self, receive: Receive, headers: Mapping[str, str], progress: Callable[[], None]) -> bytes:
        """The whole body, decoded, without a byte order mark. `progress` is called after each part but the last.

        BodyTooLargeError as soon as Content-Length, the received bytes or the decoded bytes exceed the limit;
        UnsupportedEncodingError for a Content-Encoding other than gzip and deflate; ClientDisconnect.
        """
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", *_ENCODINGS):
            raise UnsupportedEncodingError(
                "This Content-Encoding is not supported. Send the body uncompressed, or as gzip or deflate."
            )
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limit:
            raise self._too_large()
        body = await self._receive(receive, progress)
        if encoding in _ENCODINGS:
            small = len(body) <= SMALL_BODY_BYTES
            body = self._decode(body, encoding) if small else await asyncio.to_thread(self._decode, body, encoding)
        return body.removeprefix(_BYTE_ORDER_MARK)

    def close(self) -> None:
        """Release the body from the budget."""
        self._budget.release(self._held)
        self._held = 0

    async def _receive(self, receive: Receive, progress: Callable[[], None]) -> bytes:
        parts: list[bytes] = []
        async for part in receive_parts(receive, progress):
            self._take(len(part))
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, more: int) -> None:
        if self._held + more > self._limit:
            raise self._too_large()
        self._budget.take(more, self._held + more)
        self._held += more

    def _decode(self, body: bytes, encoding: str) -> bytes:
        *others, last = _ENCODINGS[encoding]
        for window_bits in others:
            try:
                return self._decompress(body, window_bits)
            except zlib.error:
                continue
        try:
            return self._decompress(body, last)
        except zlib.error:
            raise InvalidRequestError(f"The body is not valid {encoding}, as its Content-Encoding says.") from None

    def _decompress(self, body: bytes, window_bits: int) -> bytes:
        """The content of all members of `body`: gzip files may be concatenated."""
        parts: list[bytes] = []
        size = 0
        while body:
            decoder = zlib.decompressobj(window_bits)
            parts.append(decoder.decompress(body, self._limit - size + 1))
            size += len(parts[-1])
            if size > self._limit:
                raise self._too_large()
            if not decoder.eof:
                raise zlib.error("the body is incomplete")
            body = decoder.unused_data
        return b"".join(parts)

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"The request body exceeds {self._limit} bytes (MAX_BODY_BYTES). Send fewer or shorter texts at once."
        )
