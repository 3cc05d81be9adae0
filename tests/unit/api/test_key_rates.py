"""Named API keys, and how many tokens a key may use in a minute."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import REGISTRY
from starlette.responses import Response
from starlette.testclient import TestClient

from api import access_log
from api.access_log import record_result
from api.key_rates import RATE_HEADERS, KeyRate
from api.routing import Request, Route
from errors import OverloadedError
from runners.contracts import Timings
from tests.errors import refused
from tests.unit.api.apps import client_of
from tests.unit.fakes import Clock


async def work(request: Request) -> Response:
    """Pretends to have read as many tokens as the body has bytes."""
    record_result(model="tiny", texts=1, tokens=len(request.body), truncated=0, timings=Timings())
    return Response()


ROUTES = [
    Route("POST", "/v1/embeddings", work),
    Route("GET", "/models", work),
    Route("GET", "/health", work, open=True),
]
KEYS = {"API_KEYS": "team-a:sk-first, sk-second, odd name:sk-third"}


def send(client: TestClient, key: str, tokens: int = 0) -> Response:
    """A request with a key that uses tokens."""
    headers = {"Authorization": f"Bearer {key}"}
    return client.post("/v1/embeddings", headers=headers, content=b"x" * tokens)  # type: ignore[return-value]


def headers(rate: KeyRate) -> list[str]:
    """The values of the headers."""
    return [value.decode() for _, value in rate.headers()]


def test_tokens_come_back_within_a_minute() -> None:
    clock = Clock()
    rate = KeyRate(600, clock)
    rate.check()
    assert headers(rate) == ["600", "600", "0.00s"]
    rate.take(600)
    assert headers(rate) == ["600", "0", "60.00s"]
    with pytest.raises(OverloadedError, match="600 tokens per minute") as raised:
        rate.check()
    assert raised.value.retry_after_s == 1
    clock.now += 30
    rate.check()
    assert headers(rate) == ["600", "300", "30.00s"]
    clock.now += 300
    rate.check()
    assert headers(rate) == ["600", "600", "0.00s"]


def test_a_large_request_is_paid_back() -> None:
    clock = Clock()
    rate = KeyRate(60, clock)
    rate.take(180)
    assert headers(rate) == ["60", "0", "180.00s"]
    with pytest.raises(OverloadedError) as raised:
        rate.check()
    assert raised.value.retry_after_s == 121
    clock.now += 121
    rate.check()


def test_each_key_has_its_own_limit() -> None:
    client = client_of(ROUTES, KEY_TOKENS_PER_MINUTE="100", **KEYS)
    answer = send(client, "sk-first", 150)
    assert answer.headers["x-ratelimit-limit-tokens"] == "100"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "0"
    rejected = send(client, "sk-first", 1)
    message = refused(rejected, 429, "rate_limit_exceeded")  # type: ignore[arg-type]  # a response of the test client
    assert "KEY_TOKENS_PER_MINUTE" in message
    assert int(rejected.headers["retry-after"]) >= 1
    assert set(RATE_HEADERS) <= set(rejected.headers)
    assert send(client, "sk-second", 1).status_code == 200
    assert client.get("/models", headers={"Authorization": "Bearer sk-first"}).status_code == 200


def test_without_a_limit_or_a_key_there_are_no_headers() -> None:
    for client in (client_of(ROUTES, **KEYS), client_of(ROUTES, KEY_TOKENS_PER_MINUTE="100")):
        assert not set(RATE_HEADERS) & set(send(client, "sk-first", 10).headers)
    limited = client_of(ROUTES, KEY_TOKENS_PER_MINUTE="100", **KEYS)
    assert not set(RATE_HEADERS) & set(limited.get("/health").headers)
    assert not set(RATE_HEADERS) & set(send(limited, "wrong").headers)


@pytest.mark.parametrize("key", ["sk-first", "team-a:sk-first", "sk-second", "odd name:sk-third"])
def test_a_key_is_accepted_with_and_without_its_name(key: str) -> None:
    assert send(client_of(ROUTES, **KEYS), key).status_code == 200


@pytest.mark.parametrize("key", ["team-a", "team-a:", "team-b:sk-first", "sk-third"])
def test_a_name_is_not_a_key(key: str) -> None:
    assert send(client_of(ROUTES, **KEYS), key).status_code == 401


def value(name: str, **labels: str) -> float:
    """A sample of ours; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_requests_and_tokens_are_counted_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log.logger, "propagate", True)
    caplog.set_level(logging.INFO, logger=access_log.logger.name)
    client = client_of(ROUTES, **KEYS)
    answered, tokens = "service_key_requests_total", "service_key_tokens_total"
    before = value(answered, key="team-a", status="200"), value(tokens, key="team-a")
    send(client, "sk-first", 7)
    send(client, "sk-second", 9)
    assert value(answered, key="team-a", status="200") == before[0] + 1
    assert value(tokens, key="team-a") == before[1] + 7
    lines = "\n".join(record.getMessage() for record in caplog.records if record.name == access_log.logger.name)
    first, second = lines.splitlines()
    assert " key=team-a " in first
    assert "key=" not in second
    assert "sk-" not in lines
