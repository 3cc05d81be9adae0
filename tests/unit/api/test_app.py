"""The path of every request: routes, methods, failures, and the end of the grace period."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.testclient import TestClient

from api.routing import Request, Route
from errors import ModelNotFoundError, ShuttingDownError
from tests.errors import refused
from tests.serving import InProcess, read_all, until
from tests.unit.api.apps import app_of, client_of, served

SECRET = "a user's own words"


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{request.params.get('name', '-')} {request.body.decode()}")


async def fail(_: Request) -> Response:
    raise ValueError(SECRET)


async def refuse(_: Request) -> Response:
    raise ModelNotFoundError("There is no such model.")


async def break_off(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        raise ValueError(SECRET)

    return StreamingResponse(parts())


ROUTES = [
    Route("GET", "/models", echo),
    Route("GET", "/v1/models/{name}", echo),
    Route("POST", "/models/{name}/load", echo),
    Route("POST", "/v1/embeddings", echo),
    Route("GET", "/v1/embeddings", echo),
    Route("POST", "/fail", fail),
    Route("POST", "/refuse", refuse),
    Route("POST", "/half", break_off),
]


@pytest.fixture
def client() -> TestClient:
    return client_of(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "answered"),
    [
        ("GET", "/models", "- "),
        ("GET", "/models/", "- "),
        ("GET", "//models//", "- "),
        ("GET", "/v1/models/bge-m3", "bge-m3 "),
        ("GET", "/v1/models/BAAI/bge-m3/", "BAAI/bge-m3 "),
        ("GET", "/v1//models//BAAI/bge-m3", "BAAI/bge-m3 "),
        ("POST", "/v1/embeddings/", "- text"),
        ("POST", "//v1/embeddings", "- text"),
    ],
)
def test_slashes_make_no_difference(client: TestClient, method: str, path: str, answered: str) -> None:
    answer = client.request(method, f"http://testserver{path}", content=b"text", follow_redirects=False)
    assert (answer.status_code, answer.text) == (200, answered)


@pytest.mark.parametrize("path", ["/v1/models/", "/models/load", "/models//load", "/v2", "/", "/MODELS"])
def test_what_is_no_route(client: TestClient, path: str) -> None:
    answer = client.post(f"http://testserver{path}")
    assert answer.status_code in (404, 405)
    assert "x-request-id" in answer.headers


def test_the_methods_of_a_route(client: TestClient) -> None:
    refused(client.post("/models"), 405, "method_not_allowed")
    assert client.put("/models").headers["allow"] == "GET, HEAD"
    assert client.get("/models/a/load").headers["allow"] == "POST"
    assert client.options("/v1/embeddings").headers["allow"] == "POST, GET, HEAD"
    answer = client.head("/models")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "2")


def test_what_a_handler_raises_becomes_an_answer(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    assert refused(client.post("/refuse"), 404, "model_not_found") == "There is no such model."
    message = refused(client.post("/fail"), 500, "internal_error")
    assert SECRET not in message + caplog.text
    assert "in fail" in caplog.text


def test_an_answer_that_breaks_off_is_not_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    with served(ROUTES) as server, socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        received = read_all(connection)
    assert received.count(b"HTTP/1.1") == 1
    assert b"half" in received
    assert not received.endswith(b"0\r\n\r\n")  # the client sees that it is not whole
    assert SECRET not in caplog.text


def test_start_and_stop_reach_bentomls_app() -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        seen.append("start")
        yield
        seen.append("stop")

    with TestClient(app_of(ROUTES, Starlette(lifespan=lifespan), API_KEYS="sk")):
        assert seen == ["start"]
    assert seen == ["start", "stop"]


@pytest.fixture
def began() -> threading.Event:
    """Set when a handler of the server begins."""
    return threading.Event()


@pytest.fixture
def server(began: threading.Event) -> Iterator[InProcess]:
    async def endless(_: Request) -> Response:
        began.set()
        await asyncio.Event().wait()
        return Response()

    async def large(_: Request) -> Response:
        began.set()
        return Response(b"x" * 50_000_000)

    with served([*ROUTES, Route("POST", "/endless", endless), Route("POST", "/large", large)]) as server:
        yield server


HALF_SENT = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf"
COMPUTING = b"POST /endless HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
UNREAD = b"POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def shut_down(server: InProcess, grace_s: float) -> None:
    """What service.py does at SIGTERM, in the thread of the server."""
    loop = server.loop
    loop.call_soon_threadsafe(server.app.shut_down, grace_s, ShuttingDownError("The service is shutting down."))


@pytest.mark.parametrize("sent", [HALF_SENT, COMPUTING], ids=["half-sent body", "computing"])
def test_running_requests_are_told_at_the_end_of_the_grace_period(
    server: InProcess, began: threading.Event, sent: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(sent)
        if sent is COMPUTING:
            assert began.wait(30)
        shut_down(server, 0.2)
        received = read_all(connection)  # the connection is closed a little later
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"shutting_down"' in received


def test_a_client_that_does_not_read_does_not_keep_the_process(server: InProcess, began: threading.Event) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(UNREAD)
        assert began.wait(30)
        shut_down(server, 0.1)
        until(lambda: not server.app.connections.open, what="the end of the connection")
