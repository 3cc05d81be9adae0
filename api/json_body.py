"""Bytes of a request to a JSON object, at a bounded cost.

Each value in a body becomes an object of Python: 64 MB of "{}," would take 1.5 GB and keep every other request waiting
for seconds, as the parser holds the interpreter's lock. So they are counted first, which takes a thousandth of that.
"""

from __future__ import annotations

from typing import Any, Protocol

from pydantic_core import from_json

from errors import BodyTooLargeError, InvalidRequestError

_MAX_DIGITS = 4300
"""Python's limit for reading and writing integers, whose cost grows with the square of their length."""


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
    if _values(body) <= limits.max_body_values and _fields(body) <= limits.max_body_fields:
        return
    outside, strings = _outside_strings(body)
    values, fields = max(_values(outside), strings - outside.count(b":")), _fields(outside)
    if values > limits.max_body_values:
        raise BodyTooLargeError(
            f"The body has more than {limits.max_body_values} values (MAX_BODY_VALUES). Send several requests."
        )
    if fields > limits.max_body_fields:
        raise BodyTooLargeError(
            f"The body has more than {limits.max_body_fields} lists, objects and fields (MAX_BODY_FIELDS). Send several"
            " requests."
        )


def _values(body: bytes) -> int:
    """Items of lists and fields of objects, one of each less."""
    return body.count(b",")


def _fields(body: bytes) -> int:
    """Lists, objects, and fields of objects."""
    return body.count(b"[") + body.count(b"{") + body.count(b":")


def _outside_strings(body: bytes) -> tuple[bytes, int]:
    """The body without its texts, and how many texts there are."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(bare.split(b'"')[::2]), bare.count(b'"') // 2
