"""Invalid requests: the status, the error body and the name of the field."""

from typing import Any

import httpx
import pytest

from api.error_body import Error, error_type
from api.routes import ENDPOINTS
from tests.errors import refused
from tests.integration.conftest import embed, ok, without_id

EMBEDDINGS, RERANK, TOKENIZE = "/v1/embeddings", "/v1/rerank", "/v1/tokenize"

WRONG_FIELDS: list[tuple[str, dict[str, Any], str]] = [
    (EMBEDDINGS, {}, "input"),
    (EMBEDDINGS, {"input": None}, "input"),
    (EMBEDDINGS, {"input": [""]}, "input.0"),
    (EMBEDDINGS, {"input": []}, "input"),
    (EMBEDDINGS, {"input": ["a", ""]}, "input.1"),
    (EMBEDDINGS, {"input": ["a", 1]}, "input.1"),
    (EMBEDDINGS, {"input": ["a", None]}, "input.1"),
    (EMBEDDINGS, {"input": {"text": 1}}, "input.0"),
    (EMBEDDINGS, {"input": 5}, "input"),
    (EMBEDDINGS, {"input": True}, "input"),
    (EMBEDDINGS, {"input": ["a"] * 2049}, "input"),
    (EMBEDDINGS, {"input": "a", "model": 7}, "model"),
    (EMBEDDINGS, {"input": "a", "model": ""}, "model"),
    (EMBEDDINGS, {"input": "a", "model": "x" * 300}, "model"),
    (EMBEDDINGS, {"input": "a", "encoding_format": "int8"}, "encoding_format"),
    (EMBEDDINGS, {"input": "a", "encoding_format": 1}, "encoding_format"),
    (EMBEDDINGS, {"input": "a", "dimensions": "8"}, "dimensions"),
    (EMBEDDINGS, {"input": "a", "dimensions": 8.5}, "dimensions"),
    (EMBEDDINGS, {"input": "a", "dimensions": 0}, "dimensions"),
    (EMBEDDINGS, {"input": "a", "dimensions": True}, "dimensions"),
    (EMBEDDINGS, {"input": "a", "dimensions": 10**30}, "dimensions"),
    (EMBEDDINGS, {"input": "a", "truncate": 1}, "truncate"),
    (EMBEDDINGS, {"input": "a", "late_chunking": True}, "late_chunking"),
    (EMBEDDINGS, {"input": "a", "late_chunking": 1}, "late_chunking"),
    (EMBEDDINGS, {"input": "a", "chunks": [[0, 1], [2, 1]]}, "chunks.1"),
    (EMBEDDINGS, {"input": "a", "chunks": []}, "chunks"),
    (EMBEDDINGS, {"input": "a", "chunks": [[0, 1]] * 2049}, "chunks"),
    (EMBEDDINGS, {"input": "a", "return_dense": False}, "return_dense"),
    (EMBEDDINGS, {"input": "a", "return_sparse": 1}, "return_sparse"),
    (EMBEDDINGS, {"input": "a", "return_multivector": True}, "return_multivector"),
    (EMBEDDINGS, {"input": "a", "top_k": 0}, "top_k"),
    (EMBEDDINGS, {"input": "a", "min_weight": -0.1}, "min_weight"),
    (EMBEDDINGS, {"input": "a", "min_weight": "0.1"}, "min_weight"),
    (EMBEDDINGS, {"input": "a", "embedding_type": ["float", "int8"]}, "embedding_type"),
    (EMBEDDINGS, {"input": {"text": "a", "image": "b"}}, "input.0"),
    (EMBEDDINGS, {"input": "a", "user": 1}, "user"),
    (EMBEDDINGS, {"input": [[1], "a"]}, "input.1"),
    (EMBEDDINGS, {"input": [1, "a"]}, "input.0.1"),
    (EMBEDDINGS, {"input": [[]]}, "input.0"),
    (EMBEDDINGS, {"input": [[1]] * 2049}, "input"),
    (EMBEDDINGS, {"input": [1], "token_encoding": "o200k_base"}, "token_encoding"),
    (EMBEDDINGS, {"input": "a", "output_dtype": "int4"}, "output_dtype"),
    (EMBEDDINGS, {"input": "a", "output_dtype": "base64"}, "output_dtype"),
    (EMBEDDINGS, {"input": "a", "embedding_type": "int4"}, "embedding_type"),
    (EMBEDDINGS, {"input": "a", "output_dimension": "8"}, "output_dimension"),
    (EMBEDDINGS, {"input": "a", "truncation": "MIDDLE"}, "truncation"),
    (EMBEDDINGS, {"input": "a", "normalized": 1}, "normalized"),
    (EMBEDDINGS, {"input": "a", "task": ["q"]}, "task"),
    (EMBEDDINGS, {"input": "a", "dimensions": 8, "output_dimension": 9}, "dimensions"),
    (EMBEDDINGS, {"input": "a", "truncate": True, "truncation": False}, "truncate"),
    (EMBEDDINGS, {"input": "a", "input_type": "query", "task": "retrieval.passage"}, "input_type"),
    (EMBEDDINGS, {"input": "a", "output_dtype": "int8", "embedding_type": "float"}, "output_dtype"),
    (RERANK, {"documents": ["d"]}, "query"),
    (RERANK, {"query": ["q"], "documents": ["d"]}, "query"),
    (RERANK, {"query": "q"}, "documents"),
    (RERANK, {"query": "q", "documents": "d"}, "documents"),
    (RERANK, {"query": "q", "documents": []}, "documents"),
    (RERANK, {"query": "q", "documents": [3]}, "documents.0"),
    (RERANK, {"query": "q", "documents": ["d"] * 1001}, "documents"),
    (RERANK, {"query": "q", "documents": ["d"], "top_n": "2"}, "top_n"),
    (RERANK, {"query": "q", "documents": ["d"], "top_n": 1.5}, "top_n"),
    (RERANK, {"query": "q", "documents": ["d"], "top_n": -1}, "top_n"),
    (RERANK, {"query": "q", "documents": ["d"], "return_documents": "perhaps"}, "return_documents"),
    (RERANK, {"query": "q", "documents": ["d"], "return_documents": 1}, "return_documents"),
    (RERANK, {"query": {"title": "q"}, "documents": ["d"]}, "query"),
    (RERANK, {"query": "q", "documents": ["d", {"title": "t"}]}, "documents.1"),
    (RERANK, {"query": "q", "documents": [{"text": 1}]}, "documents.0"),
    (RERANK, {"query": "q", "documents": ["d", {"text": "t"}], "rank_fields": ["title"]}, "documents.1"),
    (RERANK, {"query": "q", "documents": [{"title": "t", "n": 1}], "rank_fields": ["title", "n"]}, "documents.0"),
    (RERANK, {"query": "", "documents": ["d", ""]}, "documents.1"),
    (RERANK, {"query": "q", "documents": ["d"], "rank_fields": "title"}, "rank_fields"),
    (RERANK, {"query": "q", "documents": ["d"], "rank_fields": [str(n) for n in range(101)]}, "rank_fields"),
    (RERANK, {"query": "q", "documents": ["d"], "rewrite_query": True}, "rewrite_query"),
    (RERANK, {"query": "q", "documents": ["d"], "max_tokens_per_doc": 0}, "max_tokens_per_doc"),
    (RERANK, {"query": "q", "documents": ["d"], "raw_scores": "perhaps"}, "raw_scores"),
    (RERANK, {"query": "q", "documents": ["d"], "top_k": "2"}, "top_k"),
    (RERANK, {"query": "q", "documents": ["d"], "top_n": 1, "top_k": 2}, "top_n"),
    (RERANK, {"query": "q", "documents": ["d"], "truncate": "START", "truncation": True}, "truncate"),
    (TOKENIZE, {}, "input"),
    (TOKENIZE, {"input": [[1, 2]]}, "input"),
    (TOKENIZE, {"input": ["a", ""]}, "input.1"),
    (TOKENIZE, {"input": ["a"] * 2049}, "input"),
    (TOKENIZE, {"input": "a", "input_type": "sideways"}, "input_type"),
]

BROKEN_JSON = {
    "nothing": b"",
    "cut": b'{"input": "a',
    "trailing": b'{"input": "a"} {}',
    "single quotes": b"{'input': 'a'}",
    "NaN": b'{"input": "a", "dimensions": NaN}',
    "Infinity": b'{"input": "a", "dimensions": -Infinity}',
    "invalid UTF-8": b'{"input": "\xff\xfe"}',
    "lone surrogate": b'{"input": "\\ud800"}',
    "deep": b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "control character": b'{"input": "a\x01b"}',
    "form": b"input=a&model=bge-m3",
}
NOT_AN_OBJECT = [b"[]", b'"text"', b"5", b"null", b"true"]


@pytest.mark.parametrize(("path", "body", "param"), WRONG_FIELDS)
def test_an_error_names_the_invalid_field(api: httpx.Client, path: str, body: dict[str, Any], param: str) -> None:
    message = refused(api.post(path, json=body), 400, "invalid_value", param)
    assert param.split(".")[0] in message


@pytest.mark.parametrize("path", [EMBEDDINGS, RERANK])
@pytest.mark.parametrize("body", BROKEN_JSON.values(), ids=BROKEN_JSON)
def test_invalid_json_gets_400(api: httpx.Client, path: str, body: bytes) -> None:
    assert "JSON" in refused(api.post(path, content=body), 400, "invalid_value")


@pytest.mark.parametrize("path", [EMBEDDINGS, RERANK])
@pytest.mark.parametrize("body", NOT_AN_OBJECT)
def test_json_other_than_an_object_gets_400(api: httpx.Client, path: str, body: bytes) -> None:
    assert "object" in refused(api.post(path, content=body), 400, "invalid_value")


@pytest.mark.parametrize(
    "path", [endpoint.path for endpoint in ENDPOINTS if endpoint.forms and error_type(endpoint.path) is Error]
)
def test_all_routes_return_the_same_error(api: httpx.Client, path: str) -> None:
    for body in (b"", b'{"inputs": NaN}', b"[]"):
        refused(api.post(path, content=body), 400, "invalid_value")
    assert set(api.delete(path).headers["allow"].split(", ")) <= {"POST", "GET", "HEAD"}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/vnd.bentoml+pickle", "multipart/form-data; boundary=x", ""]
)
def test_every_content_type_is_read_as_json(api: httpx.Client, kind: str) -> None:
    """BentoML would unpickle a body with its pickle content type."""
    body = without_id(api.post(EMBEDDINGS, content=b'{"input": "a"}', headers={"Content-Type": kind}))
    assert body == embed(api, ["a"])


@pytest.mark.parametrize(
    ("path", "field"), [(EMBEDDINGS, {"input": "a"}), (RERANK, {"query": "q", "documents": ["d"]})]
)
def test_an_unknown_model_error_suggests_similar_names(api: httpx.Client, path: str, field: dict[str, Any]) -> None:
    message = refused(api.post(path, json={**field, "model": "bge-m33"}), 404, "model_not_found", "model")
    assert "bge-m3" in message
    assert "bge-m33" not in message
    nothing_near = refused(api.post(path, json={**field, "model": "qqqqqqqq"}), 404, "model_not_found", "model")
    assert "/models" in nothing_near


def test_v1_models_of_an_unknown_name_gets_404(api: httpx.Client) -> None:
    refused(api.get("/v1/models/nobody/nothing"), 404, "model_not_found", "model")


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/embedding", "/v1/embeddings/x", "/models/bge-m3", "/%00"])
def test_an_unknown_route_gets_404(api: httpx.Client, path: str) -> None:
    refused(api.get(path), 404, "route_not_found")
    refused(api.post(path, json={}), 404, "route_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", EMBEDDINGS, {"POST"}),
        ("PUT", EMBEDDINGS, {"POST"}),
        ("DELETE", RERANK, {"POST"}),
        ("PATCH", RERANK, {"POST"}),
        ("POST", "/models", {"GET", "HEAD"}),
        ("POST", "/v1/models", {"GET", "HEAD"}),
        ("DELETE", "/v1/models/bge-m3", {"GET", "HEAD"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("POST", "/livez", {"GET", "HEAD"}),
        ("POST", "/docs.json", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_gets_405_with_allow(api: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    response = api.request(method, path)
    refused(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


def test_the_maximum_numbers_of_inputs_and_documents(api: httpx.Client) -> None:
    assert len(embed(api, ["a"] * 2048)["data"]) == 2048
    many = ok(api.post(RERANK, json={"query": "q", "documents": ["d"] * 1000}))
    assert many["meta"]["returned_documents"] == 1000
