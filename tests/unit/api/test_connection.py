"""HTTP/1.1 as clients speak it, on a real socket: offers of other protocols, half-closed connections, and limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from starlette.responses import Response

from api import connection as connection_module
from api.routing import Request, Route
from tests.errors import message_of
from tests.serving import InProcess, read_all, until
from tests.unit.api.apps import served

BODY = b'{"input": "hello"}'
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
"""What the JDK's HttpClient sends with every request, unless it is told to speak HTTP/1.1 only."""


class Handlers:
    """What the routes under test do, and what was seen of it."""

    def __init__(self) -> None:
        self.proceed = threading.Event()
        self.began = threading.Event()
        self.cancelled = threading.Event()

    async def echo(self, request: Request) -> Response:
        return Response(request.body, media_type="application/json")

    async def slow(self, request: Request) -> Response:
        """Answers once the test says so."""
        self.began.set()
        try:
            while not self.proceed.is_set():  # noqa: ASYNC110  # set by another thread
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Response(b"done")

    async def large(self, request: Request) -> Response:
        return Response(b"x" * 50_000_000)

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/", self.echo),
            Route("POST", "/echo", self.echo),
            Route("POST", "/slow", self.slow),
            Route("POST", "/large", self.large),
        ]


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def server(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    monkeypatch.setattr(connection_module, "_FIRST_PROBE_S", 0.05)
    monkeypatch.setattr(connection_module, "_LINGER_S", 0.2)
    with served(handlers.routes()) as server:
        yield server
        handlers.proceed.set()


def connect(server: InProcess) -> closing[socket.socket]:
    """A connection that gives up after a while, so that a failing test ends."""
    return closing(socket.create_connection(("127.0.0.1", server.port), timeout=30))


def post(path: str = "/echo", *, headers: bytes = b"", body: bytes = BODY) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b%b\r\n%b" % (path.encode(), headers, length, body)


def chunked(body: bytes = BODY, headers: bytes = b"") -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n" % headers
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:])) + b"0\r\n\r\n"


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """One whole answer: its status and body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    parts, missing = [body], int(headers[b"content-length"]) - len(body)
    while missing:
        parts.append(_more(connection))
        missing -= len(parts[-1])
    return int(head.split()[1]), b"".join(parts)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the connection was closed in the middle of an answer"
    return data


def answered(connection: socket.socket, sent: bytes) -> tuple[int, bytes]:
    connection.sendall(sent)
    return read_answer(connection)


def refusal(received: bytes) -> tuple[int, str]:
    """Status and message of an answer after which the connection is closed."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), message_of(json.loads(body))


@pytest.mark.parametrize("sent", [post(headers=OFFER), chunked(headers=OFFER)], ids=["length", "chunks"])
@pytest.mark.parametrize("size", [10_000, 170, 1])
def test_an_offer_of_h2c_is_ignored_and_the_body_is_read(server: InProcess, sent: bytes, size: int) -> None:
    parts = [sent[start : start + size] for start in range(0, len(sent), size)]
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):  # the connection stays good
            for part in parts:
                connection.sendall(part)
            assert read_answer(connection) == (200, BODY)
        assert answered(connection, post()) == (200, BODY)


@pytest.mark.parametrize(
    "offer",
    [
        b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
        b"Connection: Upgrade\r\nConnection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
    ],
)
def test_other_offers_are_ignored_as_well(server: InProcess, offer: bytes) -> None:
    with connect(server) as connection:
        assert answered(connection, b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % offer)[0] == 200
        assert answered(connection, post(headers=offer)) == (200, BODY)


def test_a_half_closed_client_may_wait_long(server: InProcess, handlers: Handlers) -> None:
    with connect(server) as connection:
        connection.sendall(post("/slow"))
        connection.shutdown(socket.SHUT_WR)
        interim = b"HTTP/1.1 102 Processing\r\n\r\n"
        assert connection.recv(len(interim), socket.MSG_WAITALL) == interim
        handlers.proceed.set()
        rest = read_all(connection)
    assert rest.removeprefix(interim).startswith(b"HTTP/1.1 200 ")
    assert rest.endswith(b"done")
    assert not handlers.cancelled.is_set()


def test_an_old_client_that_half_closes_gets_no_interim_answer(server: InProcess, handlers: Handlers) -> None:
    with connect(server) as connection:
        connection.sendall(post("/slow").replace(b"HTTP/1.1", b"HTTP/1.0"))
        connection.shutdown(socket.SHUT_WR)
        assert handlers.began.wait(30)
        connection.settimeout(0.3)  # several times _FIRST_PROBE_S
        with pytest.raises(TimeoutError):
            connection.recv(1)
        handlers.proceed.set()
        connection.settimeout(30)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("requests", [1, 2])
def test_the_work_of_a_client_that_is_gone_ends(server: InProcess, handlers: Handlers, requests: int) -> None:
    with connect(server) as connection:
        connection.sendall(post("/slow") * requests)
        assert handlers.began.wait(30)
    assert handlers.cancelled.wait(30)


def test_an_offer_beside_close_closes(server: InProcess) -> None:
    with connect(server) as connection:
        connection.sendall(post(headers=b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n"))
        assert read_all(connection).endswith(BODY)


def test_a_client_that_closes_in_the_middle_of_its_body_gets_nothing(server: InProcess) -> None:
    with connect(server) as connection:
        connection.sendall(post()[:-3])
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""


def test_pipelined_requests_are_answered_in_turn_also_to_a_half_closed_client(server: InProcess) -> None:
    with connect(server) as connection:
        connection.sendall(post(body=b"1") + post(body=b"2", headers=OFFER) + post(body=b"3"))
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection)
    assert [part[-1:] for part in received.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2", b"3"]


def header_of(size: int) -> bytes:
    return b"X-Large: %b\r\n" % (b"x" * size)


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
NOT_HTTP = 400, "The request is not valid HTTP/1.1."
TOO_LARGE = 431, "65536 bytes (MAX_HEAD_BYTES)"
REFUSED: dict[str, tuple[bytes, tuple[int, str]]] = {
    "nonsense": (b"nonsense\r\n\r\n", NOT_HTTP),
    "a length that is no number": (GET + b"Content-Length: many\r\n\r\n", NOT_HTTP),
    "no address": (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", NOT_HTTP),
    "a path that is not ASCII": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", NOT_HTTP),
    "CONNECT": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400, "CONNECT is not supported")),
    "one header": (GET + header_of(70_000) + b"\r\n", TOO_LARGE),
    "an unfinished header": (GET + header_of(70_000)[:-2], TOO_LARGE),
    "many headers": (GET + header_of(100) * 700, TOO_LARGE),
    "a path": (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 70_000), TOO_LARGE),
    "an unfinished path": (b"GET /" + b"x" * 70_000, TOO_LARGE),
    "trailers": (chunked()[:-2] + header_of(500_000), TOO_LARGE),
}


@pytest.mark.parametrize(("sent", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_read_gets_our_error_body(server: InProcess, sent: bytes, expected: tuple[int, str]) -> None:
    with connect(server) as connection:
        connection.sendall(sent)
        status, message = refusal(read_all(connection))
    assert status == expected[0]
    assert expected[1] in message


def test_an_unknown_route_and_a_head_at_the_limit_keep_the_connection(server: InProcess) -> None:
    with connect(server) as connection:
        assert answered(connection, post("/nowhere"))[0] == 404
        assert answered(connection, post(headers=header_of(60_000))) == (200, BODY)


def test_a_client_that_never_ends_its_head_is_not_read(server: InProcess) -> None:
    """It is told so, and its connection is closed: it cannot send what the service would have to hold."""
    with connect(server) as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while True:
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)


def test_an_answer_before_the_end_of_the_body_is_the_last(server: InProcess) -> None:
    """It says so, and the client sees it although it goes on sending for a while."""
    with connect(server) as connection:
        connection.sendall(post("/nowhere", body=b"x" * 10**6)[:-10])
        received = b""
        while b"route_not_found" not in received:
            received += _more(connection)
            connection.sendall(b"x")
        assert refusal(received + read_all(connection))[0] == 404


@pytest.mark.parametrize("sent", [b"GE", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_end(handlers: Handlers, sent: bytes) -> None:
    with served(handlers.routes(), CLIENT_TIMEOUT_S="0.2") as server, connect(server) as connection:
        assert answered(connection, post()) == (200, BODY)
        connection.sendall(sent)
        status, message = refusal(read_all(connection))
    assert status == 408
    assert "0.2 s (CLIENT_TIMEOUT_S)" in message


@pytest.mark.parametrize("sent", [b"", b"\r\n", post(), post("/unknown", body=BODY)[:-1]])
def test_a_connection_without_a_request_is_closed(handlers: Handlers, sent: bytes) -> None:
    with served(handlers.routes(), KEEP_ALIVE_S="0.2") as server, connect(server) as connection:
        connection.sendall(sent)
        assert read_all(connection).count(b"HTTP/1.1") == (len(sent) > 2)


def test_a_client_that_does_not_read_is_dropped(handlers: Handlers) -> None:
    with served(handlers.routes(), CLIENT_TIMEOUT_S="0.2") as server, connect(server) as connection:
        connection.sendall(post("/large"))
        until(lambda: not server.app.connections.open, what="the end of the connection")


def test_a_client_that_reads_a_large_answer_is_not(handlers: Handlers) -> None:
    with served(handlers.routes(), CLIENT_TIMEOUT_S="5") as server, connect(server) as connection:
        connection.sendall(post("/large"))
        status, body = read_answer(connection)
    assert (status, len(body)) == (200, 50_000_000)
