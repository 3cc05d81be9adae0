"""The load generator against a server that does nothing, and against wrong answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.client import Group, Load, Request, Window, content_length, count_items, fault, http_message, run
from benchmarks.processes import free_port
from benchmarks.statistics import Call, rate
from benchmarks.trivial import Trivial, prepared_answer
from benchmarks.workload import embeddings_body


def request_to(port: int, items: int = 1) -> Request:
    return Request(port, "/v1/embeddings", embeddings_body(["é"]).decode(), items)


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[int]:
    port = free_port()
    server = await asyncio.get_running_loop().create_server(lambda: Trivial(answer), "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


async def test_every_connection_gets_its_answers() -> None:
    async with serving(prepared_answer()) as port:
        report = await run(Load([Group("a", 4, [request_to(port)]), Group("b", 1, [request_to(port)], 0.001)], 0.05))
    assert report.errors == []
    for calls in report.calls.values():
        assert all(-report.wall_s <= call.sent_s < call.answered_s <= report.wall_s for call in calls)
        assert any(call.answered_s <= 0 for call in calls)  # before the window


@pytest.mark.parametrize("window_s", [0.5, 6.0, 7.3, 20.0])
@pytest.mark.parametrize("together", [1, 8], ids=["in order of arrival", "all at once"])
def test_the_rate_of_a_steady_server_is_exact(together: int, window_s: float) -> None:
    """A server that answers a request a second, in passes of `together` requests: 8 connections, 3 texts each."""
    window, now, queue = Window(Load([], window_s, warm_up_s=2), connections=8), 0.0, list(range(8))
    sent, calls = dict.fromkeys(queue, 0.0), list[tuple[float, float]]()
    for connection in queue:
        window.sent(connection, now)
    while queue:
        now += together
        done, queue = queue[:together], queue[together:]
        for connection in done:
            window.answered(connection, now)
            calls.append((sent[connection], now))
            if not window.is_over(now):
                window.sent(connection, now)
                sent[connection] = now
                queue.append(connection)
    assert window.opens_s is not None
    inside = [Call(start - window.opens_s, end - window.opens_s, 3) for start, end in calls]
    assert rate(inside, window_s) == pytest.approx(3)


async def test_too_few_items_end_the_run_with_an_error() -> None:
    async with serving(prepared_answer()) as port:
        report = await run(Load([Group("a", 1, [request_to(port, items=2)])], 60))
    assert report.errors == ["/v1/embeddings answered 1 items instead of 2"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", "answered 503: busy"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "no Content-Length"),
    ],
)
async def test_wrong_answers_end_the_run_with_an_error(answer: bytes, expected: str) -> None:
    async with serving(answer) as port:
        report = await run(Load([Group("a", 1, [request_to(port)])], 60))
    assert expected in report.errors[0]


async def test_nobody_listening_is_an_error() -> None:
    report = await run(Load([Group("a", 1, [request_to(free_port())])], 60))
    assert report.errors[0].startswith("ConnectionRefusedError")


def test_lengths_count_bytes_not_letters() -> None:
    head, _, body = http_message(Request(1, "/", "é", 1)).partition(b"\r\n\r\n")
    assert content_length(head) == len(body) == 2


def test_spaced_and_compact_json_both_count() -> None:
    compact = b'{"results":[{"index":0,"relevance_score":0.1},{"index":1,"relevance_score":0.2}]}'
    spaced = compact.replace(b":", b": ").replace(b'" :', b'":')
    for body in (compact, spaced):
        assert fault(Request(1, "/v1/rerank", "", 2), 200, body) is None


RESULTS = b'[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]'


@pytest.mark.parametrize(
    ("body", "items"),
    [
        (b'{"object":"list","data":[{"index":0,"embedding":[1.0]}],"model":"m"}', 1),
        (b'{"results":' + RESULTS + b',"usage":{}}', 2),
        (b'{"id":"1","usage":{},"results":' + RESULTS + b"}", 2),
        (b'{"results":' + RESULTS + b',"object":"list","data":' + RESULTS + b"}", 2),
    ],
    ids=["vectors", "a ranking", "vLLM's", "with Voyage's format"],
)
def test_items_are_counted_once(body: bytes, items: int) -> None:
    assert count_items(body) == items
