"""Bytes of a request to a JSON object, at a bounded cost.

Each value in a body becomes an object of Python: 64 MB of "{}," would take 1.5 GB and keep every other request waiting
for seconds, as the parser holds the interpreter's lock. So they are counted first, which takes a thousandth of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from pydantic_core import from_json

from errors import BodyTooLargeError, InvalidRequestError

_MAX_DIGITS = 4300
"""Python's limit for reading and writing integers, whose cost grows with the square of their length."""


LARGE_BODY = 2**20
"""Bytes from which a body is read beside the event loop."""

T = TypeVar("T")


async def beside(work: Callable[..., T], *arguments: Any, large: bool) -> T:
    """Run something on another thread where it is large."""
    return await asyncio.to_thread(work, *arguments) if large else work(*arguments)


class BodyLimits(Protocol):
    """The settings that bound a body's JSON."""

    @property
    def max_body_values(self) -> int: ...

    @property
    def max_body_fields(self) -> int: ...


def read_json(body: bytes, limits: BodyLimits) -> dict[str, Any]:
    """The object in a body, by pydantic's own parser, which refuses NaN, Infinity, invalid UTF-8 and deep nesting.

    BodyTooLargeError where it has too many values, InvalidRequestError where it is no JSON object.
    """
    _check_size(body, limits)
    try:
        content: Any = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        reason = str(error)  # gives a reason and a place, and no part of the text
        if reason.startswith("number out of range"):
            reason += f" (integers of up to {_MAX_DIGITS} digits are read; send a longer one as a string)"
        raise InvalidRequestError(f"The body is not valid JSON: {reason}.") from None
    if not isinstance(content, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return content


def _check_size(body: bytes, limits: BodyLimits) -> None:
    if len(body) <= min(limits.max_body_values, limits.max_body_fields):
        return
    values, fields = body.count(b","), sum(map(body.count, _STRUCTURE))
    if values > limits.max_body_values or fields > limits.max_body_fields:
        values, fields = _outside_texts(body)
    if values > limits.max_body_values:
        raise BodyTooLargeError(
            f"The body has more than {limits.max_body_values} values (MAX_BODY_VALUES). Send several requests."
        )
    if fields > limits.max_body_fields:
        raise BodyTooLargeError(
            f"The body has more than {limits.max_body_fields} lists, objects and fields (MAX_BODY_FIELDS). Send several"
            " requests."
        )


_STRUCTURE = (b"[", b"{", b":")
"""Each begins a list, an object or a field's value."""
_BLOCK_BYTES = 2**20


def _outside_texts(body: bytes) -> tuple[int, int]:
    """Commas, and lists, objects and fields, without what stands in texts."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # then every quotation mark begins or ends a text
    values, fields, inside = 0, 0, 0
    for start in range(0, len(bare), _BLOCK_BYTES):
        block = np.frombuffer(bare, np.uint8, min(_BLOCK_BYTES, len(bare) - start), start)
        marks = np.cumsum(block == ord('"'), dtype=np.uint8) + np.uint8(inside)
        outside = block[marks % 2 == 0]
        values += int(np.count_nonzero(outside == ord(",")))
        fields += sum(int(np.count_nonzero(outside == ord(sign))) for sign in _STRUCTURE)
        inside = int(marks[-1]) % 2
    return values, fields
