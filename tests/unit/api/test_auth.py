"""Who may ask: with keys in the settings, nobody without one, and no word about a key to anybody."""

from __future__ import annotations

import asyncio
import logging

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from api.routing import Request, Route
from tests.errors import refused
from tests.unit.api.apps import app_of, client_of

FIRST, SECOND = "sk-first-secret-key", "second secret/with=odd+#characters"
PROBES = ("/health", "/healthz", "/livez", "/readyz")


async def echo(request: Request) -> Response:
    """The path, and how much of the body was read."""
    return PlainTextResponse(f"{request.scope['path']} {len(request.body)}")


ROUTES = [
    *(Route("GET", path, echo, open=True) for path in (*PROBES, "/metrics")),
    Route("GET", "/models", echo),
    Route("POST", "/v1/embeddings", echo),
]
KEYS = f"{FIRST}, {SECOND}"


@pytest.fixture
def client() -> TestClient:
    """Behind two keys."""
    return client_of(ROUTES, API_KEYS=KEYS)


@pytest.mark.parametrize("key", [FIRST, SECOND])
@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer {}",
        "authorization: bearer {}",
        "AUTHORIZATION: BEARER   {} ",
        "X-API-Key: {}",
        "api-key: {}",
        "Api-Key: {}",
    ],
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
    "another api-key": {"api-key": "nobody's"},
    "two wrong ones": {"Authorization": "Bearer nobody's", "x-api-key": "nobody's"},
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


@pytest.mark.parametrize("headers", (WRONG | MISSING).values(), ids=WRONG | MISSING)
def test_no_or_an_unknown_key_is_turned_away(client: TestClient, headers: dict[str, str]) -> None:
    encoded = {name: value.encode() for name, value in headers.items()}
    answer = client.post("/v1/embeddings", headers=encoded)  # type: ignore[arg-type]  # bytes are allowed, too
    assert answer.headers["www-authenticate"] == "Bearer"
    reason = "Incorrect API key provided" if headers in WRONG.values() else "An API key is required"
    assert refused(answer, 401, "invalid_api_key").startswith(f"{reason}. Send it as Authorization: Bearer KEY")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer sk-of-the-proxy", "x-api-key": FIRST},
        {"Authorization": f"Bearer {FIRST}", "x-api-key": "none"},
        {"Authorization": "Bearer", "x-api-key": FIRST},
        {"Authorization": "Bearer none", "x-api-key": "none", "api-key": SECOND},
    ],
)
def test_a_wrong_key_beside_a_right_one_does_not_matter(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/models", headers=headers).status_code == 200


def test_open_routes_need_none(client: TestClient) -> None:
    for path in (*PROBES, "/metrics", "/health/", "//health"):
        assert client.get(f"http://testserver{path}").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/docs.json", f"/models?api_key={FIRST}&x-api-key={FIRST}", "//models/", "/v1/models", "/metrics/x"],
)
def test_everything_else_is_closed_and_says_nothing_of_what_there_is(client: TestClient, path: str) -> None:
    refused(client.get(f"http://testserver{path}"), 401, "invalid_api_key")
    refused(client.put(f"http://testserver{path}"), 401, "invalid_api_key")


def test_the_body_of_a_stranger_is_not_read() -> None:
    async def never(*_: object) -> None:
        raise AssertionError("the body was read")

    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [(b"x-api-key", b"\xff\x00")]}
    asyncio.run(app_of(ROUTES, API_KEYS=KEYS)(scope, never, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401


def test_no_key_is_in_a_log_or_an_answer(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = "sk-a-strangers-mistyped-key"
    for headers in ({"Authorization": f"Bearer {shown}"}, {"x-api-key": shown}, {"Authorization": f"Basic {FIRST}"}):
        answer = client.post("/v1/embeddings", headers=headers)
        written = answer.text + str(answer.headers) + caplog.text
        for secret in (shown, FIRST, SECOND):
            assert secret not in written
