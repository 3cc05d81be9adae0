"""Who may ask: with keys in the settings, nobody without one, and no word about a key to anybody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from api.keys import OPEN_PATHS, ApiKeyMiddleware
from tests.errors import refused

FIRST, SECOND = "sk-first-secret-key", "second secret/with=odd+characters"
PROBES = ("/health", "/healthz", "/livez", "/readyz")


def client_of(*keys: str, metrics_open: bool = True) -> TestClient:
    """A client of an app behind these keys, which answers its path and what of the body it read."""

    async def echo(request: Request) -> Response:
        return PlainTextResponse(f"{request.url.path} {len(await request.body())}")

    app = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])
    return TestClient(ApiKeyMiddleware(app, keys=keys, metrics_open=metrics_open))


@pytest.fixture
def client() -> TestClient:
    """Behind two keys."""
    return client_of(FIRST, SECOND)


@pytest.mark.parametrize("key", [FIRST, SECOND])
@pytest.mark.parametrize(
    "header", ["Authorization: Bearer {}", "authorization: bearer {}", "AUTHORIZATION: BEARER   {} ", "X-API-Key: {}"]
)
def test_a_known_key_is_let_in(client: TestClient, header: str, key: str) -> None:
    name, _, value = header.format(key).partition(": ")
    answer = client.post("/v1/embeddings", headers={name: value}, content=b"1234")
    assert (answer.status_code, answer.text) == (200, "/v1/embeddings 4")


WRONG = {
    "another key": {"Authorization": "Bearer sk-first-secret-kez"},
    "the start of a key": {"Authorization": f"Bearer {FIRST[:-1]}"},
    "a key and more": {"Authorization": f"Bearer {FIRST}x"},
    "a key in capitals": {"Authorization": f"Bearer {FIRST.upper()}"},
    "two keys": {"Authorization": f"Bearer {FIRST},{SECOND}"},
    "another x-api-key": {"x-api-key": "nobody's"},
    "a wrong bearer beside a right x-api-key": {"Authorization": "Bearer nobody's", "x-api-key": FIRST},
    "letters beyond ASCII": {"x-api-key": "ключ"},
}
MISSING = {
    "no header": {},
    "an empty x-api-key": {"x-api-key": ""},
    "an empty header": {"Authorization": ""},
    "a scheme alone": {"Authorization": "Bearer"},
    "a scheme and a blank": {"Authorization": "Bearer  "},
    "another scheme": {"Authorization": f"Basic {FIRST}"},
    "no scheme": {"Authorization": FIRST},
    "a cookie": {"Cookie": f"x-api-key={FIRST}"},
}


def turned_away(client: TestClient, headers: dict[str, str]) -> str:
    """The message of the 401 that these headers get."""
    encoded = {name: value.encode() for name, value in headers.items()}
    answer = client.post("/v1/embeddings", headers=encoded)  # type: ignore[arg-type]  # bytes are allowed, too
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    return refused(answer, 401, "invalid_api_key")


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_an_unknown_key_is_turned_away(client: TestClient, headers: dict[str, str]) -> None:
    assert turned_away(client, headers).startswith("Incorrect API key provided. Send one as Authorization: Bearer KEY")


@pytest.mark.parametrize("headers", MISSING.values(), ids=MISSING)
def test_no_key_is_turned_away(client: TestClient, headers: dict[str, str]) -> None:
    assert turned_away(client, headers).startswith("This service wants an API key. Send one as Authorization: Bearer")


def test_an_empty_bearer_leaves_the_other_header_its_say(client: TestClient) -> None:
    assert client.get("/models", headers={"Authorization": "Bearer", "x-api-key": FIRST}).status_code == 200


def test_a_key_in_the_address_is_none(client: TestClient) -> None:
    refused(client.get("/models", params={"api_key": FIRST, "x-api-key": FIRST}), 401, "invalid_api_key")


def test_probes_are_open(client: TestClient) -> None:
    assert set(PROBES) == OPEN_PATHS
    for path in (*PROBES, "/metrics"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/docs.json", "/models", "/info", "/v1/models", "/health/", "/metrics/x", "//health"]
)
def test_everything_else_is_closed(client: TestClient, path: str) -> None:
    refused(client.get(f"http://testserver{path}"), 401, "invalid_api_key")


def test_metrics_may_want_a_key() -> None:
    client = client_of(FIRST, metrics_open=False)
    refused(client.get("/metrics"), 401, "invalid_api_key")
    assert client.get("/metrics", headers={"x-api-key": FIRST}).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_start_and_stop_pass() -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        seen.append("start")
        yield
        seen.append("stop")

    with TestClient(ApiKeyMiddleware(Starlette(lifespan=lifespan), keys=[FIRST], metrics_open=True)):
        assert seen == ["start"]
    assert seen == ["start", "stop"]


def test_the_body_of_a_stranger_is_not_read() -> None:
    async def never(*_: object) -> None:
        raise AssertionError("the app was asked, or the body was read")

    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    middleware = ApiKeyMiddleware(never, keys=[FIRST], metrics_open=True)
    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [(b"x-api-key", b"\xff\x00")]}
    asyncio.run(middleware(scope, never, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401


def test_no_key_is_in_a_log_or_an_answer(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = "sk-a-strangers-mistyped-key"
    for headers in ({"Authorization": f"Bearer {shown}"}, {"x-api-key": shown}, {"Authorization": f"Basic {FIRST}"}):
        answer = client.post("/v1/embeddings", headers=headers)
        written = answer.text + str(answer.headers) + caplog.text
        for secret in (shown, FIRST, SECOND):
            assert secret not in written
