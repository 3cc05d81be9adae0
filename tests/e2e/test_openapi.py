"""schemathesis with the service's OpenAPI document: no 5xx, no undocumented status, responses match their schemas.

Used without its pytest plugin, which does not support pytest 9.2. Imported inside functions, because that takes seconds
and all test processes collect this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import hypothesis
import pytest

from tests.conftest import MODEL
from tests.serving import Served

if TYPE_CHECKING:
    from schemathesis import Case

Mode = Literal["positive", "negative"]

SETTINGS = hypothesis.settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
OWN = dict.fromkeys(("/v1/embeddings", "/v1/rerank"), 40)
DIALECTS = dict.fromkeys(
    ("/v1/tokenize", "/v1/embed", "/v2/embed", "/v2/rerank", "/embed", "/rerank", "/similarity", "/tokenize"), 15
)
DIALECTS |= dict.fromkeys(("/api/embed", "/v1/ranking", "/v1/reranking", "/v1/contextualizedembeddings"), 10)
DIALECTS |= dict.fromkeys(("/embed_all", "/embed_sparse", "/v1/multi-vector"), 10)
ALIASES = dict.fromkeys(
    (
        *("/embeddings", "/", "/api/embeddings", "/api/show", "/v1/models/rerank", "/v1/retrieval/{model}/reranking"),
        *("/openai/v1/embeddings", "/openai/deployments/{model}/embeddings"),
    ),
    6,
)
POSTS = OWN | DIALECTS | ALIASES
"""Route -> number of requests of each kind."""
GETS = (
    *("/models", "/info", "/v1/models", "/v1/models/{name}", "/health", "/livez", "/readyz", "/metrics"),
    *("/openai/models", "/openai/v1/models", "/api/tags", "/api/ps", "/api/version"),
)
WITHOUT_BODY = dict.fromkeys(GETS, "GET") | {"/v1/check-api-key": "POST"}
"""Route -> its method."""
EXAMPLES_WITHOUT_BODY = 10


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    """The document that the service returns."""
    import schemathesis

    return schemathesis.openapi.from_url(f"{served.url}/docs.json")


def exercise(document: Any, path: str, mode: Mode, *, model: str | None = None) -> None:
    """Send valid and invalid requests, and check each response."""
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    operation = document[path][WITHOUT_BODY.get(path, "POST")]

    @hypothesis.settings(SETTINGS, max_examples=POSTS.get(path, EXAMPLES_WITHOUT_BODY))
    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    def check(case: Case[Any]) -> None:
        if model is not None and isinstance(case.body, dict):
            case.body["model"] = model
        if model is not None and "{model}" in path:
            case.path_parameters["model"] = model
        case.call_and_validate(checks=wanted)

    check()


def test_every_operation_is_exercised(document: Any) -> None:
    assert {result.ok().path for result in document.get_all_operations()} == {*POSTS, *WITHOUT_BODY}


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", POSTS)
def test_requests_with_an_existing_model(document: Any, path: str, mode: Mode) -> None:
    exercise(document, path, mode, model=MODEL)


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", OWN)
def test_requests_with_any_model(document: Any, path: str, mode: Mode) -> None:
    exercise(document, path, mode)


@pytest.mark.parametrize("path", WITHOUT_BODY)
def test_routes_without_a_body(document: Any, path: str) -> None:
    exercise(document, path, "positive")
