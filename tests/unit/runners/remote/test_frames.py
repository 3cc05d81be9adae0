"""Frames: jobs and rows survive the way, whole or in pieces, and a turn's frames leave together."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from errors import InputTooLongError
from runners.contracts import SparseVector, TextOutputs, TokenSequence, Wanted
from runners.remote.frames import (
    Channel,
    Kind,
    pack,
    pack_job,
    pack_outputs,
    pack_rows,
    unpack,
    unpack_job,
    unpack_outputs,
    unpack_rows,
)


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


Received = list[tuple[int, int, bytes]]


def channel_of(received: Received) -> Channel:
    return Channel(lambda *frame: received.append(frame), lambda _: None)


@pytest.mark.parametrize(
    "sequences",
    [
        [],
        [TokenSequence([])],
        [TokenSequence([101, 2**31 - 1, 102])],
        [TokenSequence([1, 2, 3], [0, 0, 1]), TokenSequence([4], [1])],
        [TokenSequence([5, 6, 7], None, 2), TokenSequence([8, 9])],
        [TokenSequence([5, 6], [0, 1], 1), TokenSequence([8, 9], [0, 0], 0)],
        [TokenSequence([5, 6, 6], None, 0, 2, Wanted.TOKENS), TokenSequence([8], None, 0, 0, Wanted.TOKENS)],
    ],
)
def test_jobs(sequences: list[TokenSequence]) -> None:
    assert unpack_job(pack_job(7, -3, sequences)) == (7, -3, sequences)


def test_outputs_of_different_lengths() -> None:
    random = np.random.default_rng(2)
    sparse = SparseVector(np.array([3, 9], dtype=np.int32), np.array([0.5, 1], dtype=np.float32))
    none = SparseVector(sparse.indices[:0], sparse.values[:0])
    sent = [TextOutputs(sparse=sparse), TextOutputs(tokens=random.random((5, 4), dtype=np.float32), sparse=none)]
    parts = pack_outputs(sent, 1.5)
    views = [part for part in parts if isinstance(part, memoryview)]
    assert any(np.shares_memory(np.asarray(view), np.asarray(sent[1].tokens)) for view in views)
    (first, second), seconds = unpack_outputs(b"".join(parts))
    assert seconds == 1.5
    assert first.sparse is not None
    assert second.sparse is not None
    assert len(second.sparse.values) == 0
    np.testing.assert_array_equal(first.sparse.indices, sparse.indices)
    np.testing.assert_array_equal(second.tokens, sent[1].tokens)


@pytest.mark.parametrize("shape", [(0, 0), (1, 384), (5, 1)])
def test_rows(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(1).random(shape, dtype=np.float32)
    transposed = np.asfortranarray(rows)
    for each in (rows, transposed):
        received, compute_s = unpack_rows(b"".join(pack_rows(each, 2.5)))
        assert received.dtype == np.float32
        assert compute_s == 2.5
        np.testing.assert_array_equal(received, rows)


def test_errors_keep_what_a_client_gets() -> None:
    error = unpack(pack(InputTooLongError("too long", param="input.3", retry_after_s=4)))
    assert type(error) is InputTooLongError
    assert (error.message, error.param, error.retry_after_s) == ("too long", "input.3", 4)


@pytest.mark.parametrize("piece", [1, 3, 9, 10, 1000])
async def test_frames_in_pieces(piece: int) -> None:
    wire, received = Wire(), []  # type: tuple[Wire, Received]
    sender, receiver = channel_of([]), channel_of(received)
    sender.connection_made(wire)
    sender.send(Kind.CALL, 1, b"ab", b"", b"cde")
    sender.send(Kind.CANCEL, 2**32 - 1)
    sender.send(Kind.ROWS, 3, bytes(range(100)))
    assert wire.written == []
    await asyncio.sleep(0)
    (data,) = wire.written  # in one piece, once the turn of the loop is over
    for start in range(0, len(data), piece):
        receiver.data_received(data[start : start + piece])
    assert received == [(Kind.CALL, 1, b"abcde"), (Kind.CANCEL, 2**32 - 1, b""), (Kind.ROWS, 3, bytes(range(100)))]


async def test_a_full_socket_holds_back_the_sender() -> None:
    channel = channel_of([])
    channel.connection_made(Wire())
    channel.pause_writing()
    waiting = asyncio.create_task(channel.wait_writable())
    await asyncio.sleep(0)
    assert not waiting.done()
    channel.resume_writing()
    await waiting
    channel.pause_writing()
    waiting = asyncio.create_task(channel.wait_writable())
    channel.connection_lost(None)
    await waiting  # and then it learns that the connection is lost


async def test_nothing_is_sent_on_a_lost_connection() -> None:
    wire, channel = Wire(), channel_of([])
    channel.connection_made(wire)
    channel.send(Kind.CALL, 1)
    channel.connection_lost(None)
    channel.send(Kind.CALL, 2)
    await asyncio.sleep(0)
    assert wire.written == []


async def test_another_user_is_refused() -> None:
    def refuse(_: Any) -> None:
        raise PermissionError

    wire = Wire()
    channel = Channel(lambda *_: None, lambda _: None, refuse)
    channel.connection_made(wire)
    assert wire.aborted
