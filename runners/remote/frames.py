"""The frames between a worker and the engine process: a header and a body.

    header  body's length (4 bytes), kind (1), number of the request (4)
    SUBMIT  model (4), priority (4), number of sequences (4), flags (4); int32 lengths, [int32 unpooled],
            [int32 unattended], int32 ids, [uint8 token types]
    ROWS    number of rows (4), width (4), seconds in passes (8); float32 rows
    OUTPUTS number of arrays (8); uint64 sizes in bytes, the arrays; the results without them, pickled

Other bodies are pickled: both sides run the same code, and each checks that its peer belongs to the same user
(peer.py). Numbers are in the machine's byte order.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from array import array
from collections.abc import Callable
from enum import IntEnum
from itertools import accumulate, pairwise
from socket import socket
from typing import Any, cast

import numpy as np

from runners.contracts import Rows, TextOutputs, TokenSequence, TokenSequences, Wanted

_HEADER = struct.Struct("=IBI")
_SUBMIT = struct.Struct("=IiII")
_ROWS = struct.Struct("=IId")
_OUTPUTS = struct.Struct("=Q")
_HAS_TYPES, _HAS_UNPOOLED, _HAS_UNATTENDED = 1, 2, 4
_WANTED_SHIFT = 8
"""The higher bits of the flags say what the sequences want, all of them the same."""
_INT = 4
HIGH_WATER_BYTES = 2**24
"""Unsent bytes beyond which a sender waits."""

Part = bytes | bytearray | memoryview


class Kind(IntEnum):
    """The type of a frame."""

    CALL = 1
    """A method of the server and its arguments."""
    RETURN = 2
    """Its result."""
    RAISE = 3
    """The ServiceError of a call or of a job."""
    SUBMIT = 4
    """A job: the token sequences of a request."""
    ROWS = 5
    """Its rows."""
    CANCEL = 6
    """The caller was cancelled."""
    UPDATE = 7
    """The engine's state."""
    OUTPUTS = 8
    """The results of a job that wants more than rows."""


class Channel(asyncio.Protocol):
    """One connection. Frames of one turn of the event loop are sent together."""

    def __init__(
        self,
        receive: Callable[[int, int, bytes], None],
        closed: Callable[[Channel], None],
        opened: Callable[[socket], None] = lambda _: None,
    ) -> None:
        self._receive = receive
        self._closed = closed
        self._opened = opened
        self._transport: asyncio.WriteTransport | None = None
        self._out: list[Part] = []
        self._in = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.WriteTransport", transport)  # uvloop's class is not a subclass
        try:
            self._opened(transport.get_extra_info("socket"))
        except PermissionError:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._in:
            self._in += data
            used = self._read(self._in)
            del self._in[:used]
        elif (used := self._read(data)) < len(data):
            self._in += memoryview(data)[used:]

    def _read(self, data: bytes | bytearray) -> int:
        """Handle the complete frames at the start of `data`; return their size in bytes."""
        place = 0
        with memoryview(data) as view:
            while len(view) >= place + _HEADER.size:
                length, kind, number = _HEADER.unpack_from(view, place)
                start = place + _HEADER.size
                if len(view) < start + length:
                    break
                place = start + length
                self._receive(kind, number, bytes(view[start:place]))
        return place

    @property
    def writable(self) -> bool:
        """False while too much is unsent."""
        return self._writable.is_set()

    async def wait_writable(self) -> None:
        """Wait while too much is unsent."""
        await self._writable.wait()

    def send(self, kind: Kind, number: int, *parts: Part) -> None:
        """Send a frame at the end of this turn of the event loop. Does nothing on a closed connection."""
        if self._transport is None:
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out += (_HEADER.pack(sum(map(len, parts)), kind, number), *parts)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.write(b"".join(out))

    def abort(self) -> None:
        """Close without sending the rest."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Send the rest, and close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()


def pack(value: Any) -> bytes:
    """A call, a result or an error as a body."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpack(body: bytes) -> Any:
    """The value of `pack`."""
    return pickle.loads(body)  # noqa: S301  # from the same program


def pack_job(model: int, priority: int, sequences: TokenSequences) -> bytes:
    """The body of SUBMIT."""
    ids, lengths, flags = array("i"), array("i"), 0
    for sequence in sequences:
        ids.fromlist(sequence.input_ids)
        lengths.append(len(sequence.input_ids))
    parts: list[Any] = [lengths]
    if any(sequence.unpooled for sequence in sequences):
        flags |= _HAS_UNPOOLED
        parts.append(array("i", [sequence.unpooled for sequence in sequences]))
    if any(sequence.unattended for sequence in sequences):
        flags |= _HAS_UNATTENDED
        parts.append(array("i", [sequence.unattended for sequence in sequences]))
    parts.append(ids)
    if sequences and sequences[0].token_type_ids is not None:
        flags |= _HAS_TYPES
        types = bytearray()
        for sequence in sequences:
            types += bytes(sequence.token_type_ids or ())
        parts.append(types)
    if sequences:
        flags |= sequences[0].wanted << _WANTED_SHIFT
    return b"".join((_SUBMIT.pack(model, priority, len(sequences), flags), *parts))


def unpack_job(body: bytes) -> tuple[int, int, list[TokenSequence]]:
    """The model's number, the priority and the sequences of SUBMIT."""
    model, priority, count, flags = _SUBMIT.unpack_from(body)
    place = _SUBMIT.size

    def integers(number: int) -> list[int]:
        nonlocal place
        start, place = place, place + _INT * number
        return memoryview(body)[start:place].cast("i").tolist()

    lengths = integers(count)
    unpooled = integers(count) if flags & _HAS_UNPOOLED else [0] * count
    unattended = integers(count) if flags & _HAS_UNATTENDED else [0] * count
    ids = integers(sum(lengths))
    types = memoryview(body)[place:] if flags & _HAS_TYPES else None
    wanted = Wanted(flags >> _WANTED_SHIFT)
    sequences = []
    start = 0
    for length, leading, trailing in zip(lengths, unpooled, unattended, strict=True):
        end = start + length
        segments = None if types is None else types[start:end].tolist()
        sequences.append(TokenSequence(ids[start:end], segments, leading, trailing, wanted))
        start = end
    return model, priority, sequences


def pack_outputs(outputs: list[TextOutputs], compute_s: float) -> tuple[Part, ...]:
    """The body of OUTPUTS, in parts. The arrays are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps((outputs, compute_s), pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    return _OUTPUTS.pack(len(arrays)), array("Q", map(len, arrays)).tobytes(), *arrays, rest


def unpack_outputs(body: bytes) -> tuple[list[TextOutputs], float]:
    """The results of OUTPUTS, whose arrays are read-only parts of `body`, and the seconds in passes."""
    (count,) = _OUTPUTS.unpack_from(body)
    view = memoryview(body)
    ends = list(accumulate(view[_OUTPUTS.size :][: 8 * count].cast("Q"), initial=_OUTPUTS.size + 8 * count))
    buffers = [view[start:end] for start, end in pairwise(ends)]
    found: tuple[list[TextOutputs], float] = pickle.loads(view[ends[-1] :], buffers=buffers)  # noqa: S301  # as above
    return found


def pack_rows(rows: Rows, compute_s: float) -> tuple[Part, Part]:
    """The body of ROWS, in two parts."""
    head = _ROWS.pack(*rows.shape, compute_s)
    return head, np.ascontiguousarray(rows).data.cast("B") if rows.size else b""


def unpack_rows(body: bytes) -> tuple[Rows, float]:
    """The rows of ROWS, and the seconds in passes."""
    count, width, compute_s = _ROWS.unpack_from(body)
    return np.frombuffer(body, np.float32, offset=_ROWS.size).reshape(count, width), compute_s
