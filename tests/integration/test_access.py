"""API keys and CORS for one allowed origin, in the whole app."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.error_body import Error, error_type
from api.routes import ENDPOINTS
from tests.errors import refused
from tests.integration.conftest import Checkpoint, ok, running

KEY, OTHER_KEY = "sk-integration-one", "sk-integration-two"
ORIGIN = "https://page.example"
BEARER = {"Authorization": f"Bearer {KEY}"}
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
    "Access-Control-Request-Private-Network": "true",  # a public page calls a private address
}
MODEL_PATHS = [endpoint.path for endpoint in ENDPOINTS if endpoint.forms and error_type(endpoint.path) is Error]


@pytest.fixture(scope="module")
def guarded(
    checkpoint: Checkpoint, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """An app with keys from both settings, METRICS_OPEN=false and one allowed origin."""
    checkpoint("BAAI/bge-m3")
    keys = tmp_path_factory.mktemp("secrets") / "keys"
    keys.write_text(f"# the second\n{OTHER_KEY}\n", encoding="utf-8")
    settings = {"API_KEYS": KEY, "API_KEYS_FILE": str(keys), "CORS_ORIGINS": ORIGIN, "METRICS_OPEN": "false"}
    with running(checkpoints, **settings) as app:
        yield app.client


@pytest.mark.parametrize(
    "headers",
    [BEARER, {"authorization": f"bearer {OTHER_KEY}"}, {"x-api-key": OTHER_KEY}, {"api-key": OTHER_KEY}],
)
def test_a_key_opens_every_route(guarded: httpx.Client, headers: dict[str, str]) -> None:
    answer = ok(guarded.post("/v1/embeddings", json={"input": "a"}, headers=headers))
    assert len(answer["data"][0]["embedding"]) > 1
    for path in ("/", "/models", "/v1/models", "/v1/models/bge-m3", "/info", "/docs.json", "/metrics"):
        assert guarded.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("path", MODEL_PATHS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-nobody"}])
def test_post_routes_require_a_key(guarded: httpx.Client, path: str, headers: dict[str, str]) -> None:
    answer = guarded.post(path, content=b"{", headers=headers)
    refused(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/", "/models", "/v1/models", "/v1/models/bge-m3", "/info", "/docs.json", "/metrics", "/no"]
)
def test_get_routes_require_a_key(guarded: httpx.Client, path: str) -> None:
    refused(guarded.get(path), 401, "invalid_api_key")


def test_cohere_clients_check_the_key(guarded: httpx.Client) -> None:
    assert ok(guarded.post("/v1/check-api-key", headers=BEARER)) == {"valid": True}
    refused(guarded.post("/v1/check-api-key"), 401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/api/embed", "/api/generate"])
def test_ollama_routes_require_a_key(guarded: httpx.Client, path: str) -> None:
    answer = guarded.post(path, content=b"{")
    assert answer.status_code == 401
    assert answer.json()["error"].startswith("An API key is required.")


def test_health_routes_need_no_key(guarded: httpx.Client) -> None:
    for path in ("/health", "/healthz", "/livez", "/readyz"):
        assert guarded.get(path).status_code == 200


def test_openapi_describes_the_key_headers(guarded: httpx.Client) -> None:
    document = ok(guarded.get("/docs.json", headers=BEARER))
    assert document["security"] == [{"bearer": []}, {"header": []}, {"azure": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header", "azure"}


def test_401_responses_are_counted_in_metrics(guarded: httpx.Client) -> None:
    guarded.post("/v1/rerank", json={})
    metrics = guarded.get("/metrics", headers=BEARER).text
    assert any('route="/v1/rerank"' in line and 'status="401"' in line for line in metrics.splitlines())


def test_keys_appear_in_no_response_or_log(guarded: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    written = [guarded.get(path, headers=BEARER).text for path in ("/models", "/docs.json", "/metrics", "/info")]
    written.append(guarded.post("/v1/embeddings", json={}, headers=BEARER).text)
    for secret in (KEY, OTHER_KEY):
        assert not any(secret in text for text in (*written, caplog.text))


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/rerank", "/embed"])
def test_a_preflight_needs_no_key(guarded: httpx.Client, path: str) -> None:
    answer = guarded.options(path, headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type"} <= {name.strip() for name in allowed.split(",")}


def test_an_allowed_origin_can_read_responses_and_errors(guarded: httpx.Client) -> None:
    for headers, status in ((BEARER, 200), ({}, 401)):
        answer = guarded.post("/v1/embeddings", json={"input": "a"}, headers={"Origin": ORIGIN, **headers})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        assert "X-Warnings" in answer.headers["access-control-expose-headers"]


def test_other_origins_are_not_allowed(guarded: httpx.Client) -> None:
    other = {"Origin": "https://elsewhere.example"}
    assert guarded.options("/v1/embeddings", headers=PREFLIGHT | other).status_code == 400
    answer = guarded.post("/v1/embeddings", json={"input": "a"}, headers=other | BEARER)
    assert not [name for name in answer.headers if name.startswith("access-control-allow-")]
