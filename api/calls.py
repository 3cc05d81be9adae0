"""One call from its body to its answer: the body's limit, the deadline, the client that leaves, the error's shape."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.cross_site import note_origin
from api.errors import error_response
from errors import BodyTooLargeError, DeadlineError, RequestIncompleteError
from settings import Settings

Handle = Callable[[bytes], Awaitable[Response]]

CLIENT_CLOSED_REQUEST = 499


async def answer(request: Request, handle: Handle, limits: Settings) -> Response:
    """What `handle` makes of the request's body, or an error of ours; 504 once the deadline has passed."""
    note_origin(request.headers, limits.cors_origins)
    try:
        return await _until_disconnect(request, handle, limits)
    except ClientDisconnect:
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # nobody reads it; the access log does
    except Exception as error:
        return error_response(error)


async def _until_disconnect(request: Request, handle: Handle, limits: Settings) -> Response:
    """Run the request; give up once the client has gone, so that nothing is computed for nobody."""
    limit = limits.request_timeout_s
    try:
        async with asyncio.timeout(limit):
            body = await read_body(request, limits.max_body_bytes)
    except TimeoutError:
        raise RequestIncompleteError(f"The request body did not arrive within {limit:g} s.") from None
    work = asyncio.ensure_future(handle(body))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({work, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        if gone.done():
            raise ClientDisconnect
        raise DeadlineError(
            f"No answer within {limit:g} s (REQUEST_TIMEOUT_S). Send fewer or shorter texts, or try again later."
        )
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
            with contextlib.suppress(BaseException):
                await asyncio.wait({work})


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body; BodyTooLargeError as soon as more than `limit` bytes are announced or have arrived."""
    message = f"The request body exceeds {limit} bytes (MAX_BODY_BYTES). Send fewer or shorter texts at once."
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLargeError(message)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise BodyTooLargeError(message)
        parts.append(part)
    return b"".join(parts)


async def _disconnected(request: Request) -> None:
    """Return when the client closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
