"""The model that is forwarded to Cohere, in the whole app: it behaves like every other reranker."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from numpy.testing import assert_allclose

from tests.cohere_server import KEY, CohereServer, input_tokens, score
from tests.errors import refused
from tests.integration.conftest import RunApp, ok, rerank

MODEL = "cohere-rerank-multilingual"
QUERY = "Wo liegt das Meer?"
DOCUMENTS = ["Berge und Täler", "海は広い", "the sea lies to the north", "sand"]
EXPECTED = [score(QUERY, text) for text in DOCUMENTS]
BODY = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
ATTEMPTS = 3


@pytest.fixture
def cohere() -> Iterator[CohereServer]:
    with CohereServer() as server:
        yield server


@pytest.fixture
def client(cohere: CohereServer, run_app: RunApp) -> Iterator[httpx.Client]:
    """A client of the app, which has COHERE_API_KEY."""
    with run_app(COHERE_API_KEY=KEY, COHERE_BASE_URL=cohere.url, REQUEST_TIMEOUT_S="20") as app:
        yield app.client


def listed(client: httpx.Client) -> dict[str, Any]:
    models = ok(client.get("/models"))["models"]
    found: dict[str, Any] = next(model for model in models if model["id"] == MODEL)
    return found


def shape(value: Any) -> Any:
    """The keys and types of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    return [shape(entry) for entry in value] if isinstance(value, list) else type(value)


def test_with_a_key_the_model_is_forwarded_and_then_ready(client: httpx.Client) -> None:
    before = listed(client)
    assert (before["state"], before["detail"], before["backend"]) == ("forwarded", None, None)
    rerank(client, QUERY, DOCUMENTS, model="Cohere/rerank-multilingual-v3.0")
    after = listed(client)
    assert (after["state"], after["backend"]) == ("ready", "forwarded to Cohere")
    assert KEY not in client.get("/models").text


def test_responses_have_the_format_of_other_rerankers(client: httpx.Client) -> None:
    for fields in ({}, {"top_n": 2, "return_documents": True}):
        ours = rerank(client, QUERY, DOCUMENTS, **fields)
        theirs = rerank(client, QUERY, DOCUMENTS, model=MODEL, **fields)
        assert shape(theirs) == shape(ours)
        assert theirs["usage"]["prompt_tokens"] == input_tokens(QUERY, DOCUMENTS)
        order = sorted(range(len(DOCUMENTS)), key=lambda index: -EXPECTED[index])[: fields.get("top_n")]
        results = theirs["results"]
        assert [result["index"] for result in results] == order
        assert_allclose([result["relevance_score"] for result in results], [EXPECTED[index] for index in order])
        if "return_documents" in fields:
            assert [result["document"] for result in results] == [DOCUMENTS[index] for index in order]


def test_requests_succeed_after_a_failure(client: httpx.Client, cohere: CohereServer) -> None:
    cohere.fail(429, times=ATTEMPTS, Retry_After="9")
    limited = client.post("/v1/rerank", json=BODY)
    refused(limited, 429, "rate_limit_exceeded")
    assert limited.headers["retry-after"] == "9"
    cohere.fail(500, times=ATTEMPTS)
    refused(client.post("/v1/rerank", json=BODY), 502, "upstream_error")
    cohere.cut()
    refused(client.post("/v1/rerank", json=BODY), 502, "upstream_error")
    cohere.fail(401)
    refused(client.post("/v1/rerank", json=BODY), 503, "model_unavailable")
    assert len(rerank(client, QUERY, DOCUMENTS, model=MODEL)["results"]) == len(DOCUMENTS)


def test_unsupported_options_are_rejected_before_forwarding(client: httpx.Client, cohere: CohereServer) -> None:
    refused(client.post("/v1/rerank", json=BODY | {"truncate": False}), 400, "invalid_value", "truncate")
    refused(client.post("/v1/rerank", json=BODY | {"instruction": "be kind"}), 400, "invalid_value", "instruction")
    refused(client.post("/v1/embeddings", json={"model": MODEL, "input": "a"}), 400, "wrong_model_kind", "model")
    assert cohere.requests == []


def test_without_a_key_the_error_names_the_setting(run_app: RunApp) -> None:
    with run_app() as app:
        model = listed(app.client)
        assert model["state"] == "unavailable"
        assert "set COHERE_API_KEY" in model["detail"]
        message = refused(app.client.post("/v1/rerank", json=BODY), 503, "model_unavailable")
        assert "set COHERE_API_KEY" in message
        assert QUERY not in message
