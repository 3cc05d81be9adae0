"""Parse a request body as a JSON object, at a bounded cost.

Each value in a body becomes a Python object: 64 MB of "{}," would take 1.5 GB and block all other requests for seconds,
because the parser holds the GIL. So values are counted first, which takes a thousandth of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from pydantic_core import from_json

from errors import BodyTooLargeError, InvalidRequestError
from settings import Settings

_MAX_DIGITS = 4300
"""Python's limit for reading and writing integers, whose cost grows with the square of their length."""

LARGE_BODY = 2**20
"""Bodies of at least this many bytes are parsed on another thread."""

T = TypeVar("T")


async def run(work: Callable[..., T], *arguments: Any, in_thread: bool) -> T:
    """Call `work`; with `in_thread` on another thread, so that it does not block the event loop."""
    return await asyncio.to_thread(work, *arguments) if in_thread else work(*arguments)


def read_json(body: bytes, settings: Settings) -> dict[str, Any]:
    """The object in a body. Pydantic's parser rejects NaN, Infinity, invalid UTF-8 and deep nesting.

    BodyTooLargeError if it has too many values, InvalidRequestError if it is not a JSON object.
    """
    _check_size(body, settings)
    try:
        content: Any = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        reason = str(error)  # a reason and a position, without the user's text
        if reason.startswith("number out of range"):
            reason += f" (integers may have up to {_MAX_DIGITS} digits; send longer ones as strings)"
        raise InvalidRequestError(f"The body is not valid JSON: {reason}.") from None
    if not isinstance(content, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return content


def _check_size(body: bytes, settings: Settings) -> None:
    if len(body) <= min(settings.max_body_values, settings.max_body_fields):
        return
    values, fields = body.count(b","), sum(map(body.count, _STRUCTURE))
    if values > settings.max_body_values or fields > settings.max_body_fields:
        values, fields = _outside_texts(body)
    if values > settings.max_body_values:
        raise BodyTooLargeError(
            f"The body has more than {settings.max_body_values} values (MAX_BODY_VALUES). Send several requests."
        )
    if fields > settings.max_body_fields:
        raise BodyTooLargeError(
            f"The body has more than {settings.max_body_fields} lists, objects and fields (MAX_BODY_FIELDS). Send "
            "several requests."
        )


_STRUCTURE = (b"[", b"{", b":")
"""The characters that start a list, an object or the value of a field."""
_BLOCK_BYTES = 2**20


def _outside_texts(body: bytes) -> tuple[int, int]:
    """Number of commas, and of lists, objects and fields, outside strings."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # then every quotation mark starts or ends a string
    values, fields, inside = 0, 0, 0
    for start in range(0, len(bare), _BLOCK_BYTES):
        block = np.frombuffer(bare, np.uint8, min(_BLOCK_BYTES, len(bare) - start), start)
        marks = np.cumsum(block == ord('"'), dtype=np.uint8) + np.uint8(inside)
        outside = block[marks % 2 == 0]
        values += int(np.count_nonzero(outside == ord(",")))
        fields += sum(int(np.count_nonzero(outside == ord(sign))) for sign in _STRUCTURE)
        inside = int(marks[-1]) % 2
    return values, fields
