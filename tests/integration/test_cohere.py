"""The model that is forwarded to Cohere, with the official SDK against a local server of its protocol."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest
from numpy.testing import assert_allclose

from errors import (
    InvalidRequestError,
    ModelUnavailableError,
    OverloadedError,
    ServiceError,
    UpstreamError,
)
from models.catalog import load_catalog
from runners.contracts import RerankOptions
from runners.providers.cohere import CohereReranker
from settings import load_settings
from tests.cohere_server import KEY, CohereServer, input_tokens, score

MODEL = "cohere-rerank-multilingual"
SPEC = load_catalog().get(MODEL)
QUERY = "Wo liegt das Meer?"
DOCUMENTS = ["Berge und Täler", "海は広い", "the sea lies to the north", "海は広い", "sand"]
EXPECTED = [score(QUERY, text) for text in DOCUMENTS]
RETRIES = 2


@pytest.fixture(scope="module")
def server() -> Iterator[CohereServer]:
    with CohereServer() as running_server:
        yield running_server


@pytest.fixture(autouse=True)
def cohere(server: CohereServer, monkeypatch: pytest.MonkeyPatch) -> CohereServer:
    """The server without recorded requests or failures. The SDK waits only as long as the server requests."""
    monkeypatch.setattr("cohere.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.001)
    server.reset()
    return server


class Connect(Protocol):
    """Creates the reranker: `connect(REQUEST_TIMEOUT_S="1")`."""

    def __call__(self, **environ: str) -> CohereReranker: ...


@pytest.fixture
async def connect(cohere: CohereServer) -> AsyncIterator[Connect]:
    """Closes each reranker afterwards; an open connection would be a warning, and tests fail on warnings."""
    models: list[CohereReranker] = []

    def set_up(**environ: str) -> CohereReranker:
        known = {"COHERE_API_KEY": cohere.key, "COHERE_BASE_URL": cohere.url}
        models.append(CohereReranker(SPEC, load_settings(known | environ)))
        return models[-1]

    yield set_up
    for model in models:
        await model.close()


async def failure(model: CohereReranker, kind: type[ServiceError], status: int) -> ServiceError:
    """The error of one request; its message contains no user text."""
    with pytest.raises(kind) as raised:
        await model.rerank(QUERY, DOCUMENTS)
    error = raised.value
    assert type(error) is kind
    assert error.status == status
    assert error.message.endswith((".", "!")) or ": " in error.message
    assert not [secret for secret in (KEY, QUERY, *DOCUMENTS) if secret in error.message]
    return error


async def test_scores_have_the_order_of_the_documents(connect: Connect) -> None:
    result = await connect().rerank(QUERY, DOCUMENTS)
    assert_allclose(result.scores, EXPECTED)
    assert_allclose(result.raw, EXPECTED)
    assert result.prompt_tokens == input_tokens(QUERY, DOCUMENTS)
    assert result.truncated == []


async def test_the_request_that_cohere_gets(connect: Connect, cohere: CohereServer) -> None:
    await connect().rerank(QUERY, DOCUMENTS)
    (request,) = cohere.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-client-name"] == "rerank-embedding-service"
    assert request.body == {"model": "rerank-multilingual-v3.0", "query": QUERY, "documents": DOCUMENTS}


async def test_a_base_url_may_have_a_path(connect: Connect, cohere: CohereServer) -> None:
    await failure(connect(COHERE_BASE_URL=f"{cohere.url}/private"), UpstreamError, 502)
    assert cohere.requests == []  # no request without the path


async def test_a_thousand_documents_are_ranked(connect: Connect) -> None:
    documents = [f"document {number}" for number in range(1000)]
    result = await connect().rerank(QUERY, documents)
    assert_allclose(result.scores, [score(QUERY, text) for text in documents])


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_temporary_failure_is_retried(connect: Connect, cohere: CohereServer, status: int) -> None:
    cohere.fail(status, times=RETRIES)
    result = await connect().rerank(QUERY, DOCUMENTS)
    assert_allclose(result.scores, EXPECTED)
    assert len(cohere.requests) == 1 + RETRIES


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_permanent_5xx_becomes_502(connect: Connect, cohere: CohereServer, status: int) -> None:
    cohere.fail(status, f"stack trace with {QUERY}", times=1 + RETRIES)
    error = await failure(connect(), UpstreamError, 502)
    assert error.message == f"Cohere failed with status {status}. Try again."
    assert error.retry_after_s == 5
    assert len(cohere.requests) == 1 + RETRIES


@pytest.mark.parametrize(
    ("headers", "retry_after_s"),
    [({}, 5), ({"Retry_After": "7"}, 7), ({"Retry_After": "Mon, 23 Nov 2026 00:00:00 GMT"}, 5)],
)
async def test_a_permanent_429_is_returned(
    connect: Connect, cohere: CohereServer, headers: dict[str, str], retry_after_s: int
) -> None:
    cohere.fail(429, "trial key limit", times=1 + RETRIES, **headers)
    error = await failure(connect(), OverloadedError, 429)
    assert error.retry_after_s == retry_after_s
    assert len(cohere.requests) == 1 + RETRIES


@pytest.mark.parametrize("status", [401, 403, 498])
async def test_a_rejected_key_is_not_the_clients_error(connect: Connect, cohere: CohereServer, status: int) -> None:
    cohere.fail(status, f"invalid api token {KEY}")
    error = await failure(connect(), ModelUnavailableError, 503)
    assert "COHERE_API_KEY" in error.message
    assert len(cohere.requests) == 1


async def test_a_wrong_key_does_not_appear_in_the_error(connect: Connect) -> None:
    with pytest.raises(ModelUnavailableError, match="COHERE_API_KEY") as raised:
        await connect(COHERE_API_KEY="co-wrong").rerank(QUERY, DOCUMENTS)
    assert "co-wrong" not in raised.value.message


@pytest.mark.parametrize("status", [400, 422])
async def test_a_4xx_has_coheres_message(connect: Connect, cohere: CohereServer, status: int) -> None:
    cohere.fail(status, "too many documents, at most 1000")
    error = await failure(connect(), InvalidRequestError, 400)
    assert error.message == "Cohere rejected the request: too many documents, at most 1000"
    assert len(cohere.requests) == 1


@pytest.mark.parametrize("body", [f'{{"message": "bad text: {DOCUMENTS[0]}"}}', '{"message": null}', '["no"]', "no"])
async def test_messages_with_user_text_are_not_passed_on(connect: Connect, cohere: CohereServer, body: str) -> None:
    cohere.answer(body, 400)
    error = await failure(connect(), InvalidRequestError, 400)
    assert error.message == "Cohere rejected the request: status 400"


@pytest.mark.parametrize("status", [402, 404, 405])
async def test_account_errors_are_not_the_clients_error(connect: Connect, cohere: CohereServer, status: int) -> None:
    cohere.fail(status, "no such model")
    error = await failure(connect(), UpstreamError, 502)
    assert "COHERE_BASE_URL" in error.message


async def test_a_timeout_becomes_an_error(connect: Connect, cohere: CohereServer) -> None:
    cohere.hang()
    error = await failure(connect(REQUEST_TIMEOUT_S="0.2"), UpstreamError, 502)
    assert error.message == "Cohere did not respond in time. Try again."
    assert len(cohere.requests) == 1


async def test_a_closed_connection_becomes_an_error(connect: Connect, cohere: CohereServer) -> None:
    cohere.cut()
    error = await failure(connect(), UpstreamError, 502)
    assert "cannot be reached" in error.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no-scheme", "http://127.0.0.1:port"])
async def test_an_unreachable_base_url_becomes_an_error(connect: Connect, url: str) -> None:
    error = await failure(connect(COHERE_BASE_URL=url), UpstreamError, 502)
    assert "COHERE_BASE_URL" in error.message


RESULTS = [{"index": index, "relevance_score": 0.5} for index in range(len(DOCUMENTS))]
STRANGE: dict[str, Any] = {
    "a document without a score": RESULTS[:-1],
    "no results": [],
    "one document twice": [*RESULTS[:-1], RESULTS[0]],
    "an index too high": [*RESULTS[:-1], {"index": 99, "relevance_score": 0.5}],
    "a negative index": [*RESULTS[:-1], {"index": -1, "relevance_score": 0.5}],
    "no index": [{"relevance_score": 0.5}],
    "an index that is a list": [{"index": [], "relevance_score": 0.5}],
    "a score that is null": [*RESULTS[:-1], {"index": 4, "relevance_score": None}],
    "a score that is a word": [*RESULTS[:-1], {"index": 4, "relevance_score": "high"}],
    "a score that is nan": [*RESULTS[:-1], {"index": 4, "relevance_score": "nan"}],
    "results that are none": 3,
}


@pytest.mark.parametrize("name", STRANGE)
async def test_an_incomplete_response_becomes_an_error(connect: Connect, cohere: CohereServer, name: str) -> None:
    cohere.answer(json.dumps({"id": "x", "results": STRANGE[name]}))
    error = await failure(connect(), UpstreamError, 502)
    assert "score" in error.message


@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b"[]", b"null", b"{}", b"\xff\xfe\x00", b"3"])
async def test_an_invalid_response_becomes_an_error(connect: Connect, cohere: CohereServer, body: bytes) -> None:
    cohere.answer(body)
    await failure(connect(), UpstreamError, 502)


async def test_without_token_counts_the_usage_is_0(connect: Connect, cohere: CohereServer) -> None:
    cohere.answer('{"results": [{"index": 0, "relevance_score": 0.25}]}')
    result = await connect().rerank(QUERY, DOCUMENTS[:1])
    assert (result.prompt_tokens, result.scores.tolist()) == (0, [0.25])


async def test_truncate_false_is_rejected(connect: Connect, cohere: CohereServer) -> None:
    with pytest.raises(InvalidRequestError, match="Cohere") as raised:
        await connect().rerank(QUERY, DOCUMENTS, RerankOptions(truncate="refuse"))
    assert raised.value.param == "truncate"
    assert cohere.requests == []


def test_without_a_key_the_error_names_the_variable(connect: Connect) -> None:
    with pytest.raises(ModelUnavailableError, match="COHERE_API_KEY") as raised:
        connect(COHERE_API_KEY="")
    assert raised.value.status == 503
