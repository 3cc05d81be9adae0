"""Limits of one request. Errors and warnings name the limit."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from numpy.testing import assert_allclose

from tests.errors import refused
from tests.integration.conftest import E5, App, Checkpoint, embed, ok, rerank, running
from tests.integration.reference import LONG, ReferenceEmbedder

LIMITS = {
    "MAX_TEXT_BYTES": "2000",
    "MAX_OUTPUT_NUMBERS": "1500",
    "MAX_TOKENIZE_TOKENS": "300",
    "MAX_BODY_VALUES": "3000",
    "MAX_BODY_FIELDS": "100",
}
SPARSE = "a planet" + " " * 3_000 + "behind the limit"
ATOL = 1e-5


@pytest.fixture(scope="module")
def app(checkpoint: Checkpoint, checkpoints: Any) -> Iterator[App]:
    """The app with small limits."""
    checkpoint("BAAI/bge-m3")
    checkpoint("BAAI/bge-reranker-v2-m3")
    checkpoint(E5)
    with running(checkpoints, **LIMITS) as small:
        yield small


@pytest.mark.parametrize(("path", "field"), [("/tokenize", "inputs"), ("/v1/tokenize", "text")])
def test_tokenize_rejects_texts_beyond_max_tokenize_tokens(api: httpx.Client, path: str, field: str) -> None:
    def sent(text: str) -> Any:
        return [text] if field == "inputs" else text

    one: Any = ok(api.post(path, json={field: sent("a")}))
    special = len(one[0]) - 1 if field == "inputs" else 0
    fits = "a " * (300 - special)
    assert ok(api.post(path, json={field: sent(fits)}))
    message = refused(api.post(path, json={field: sent(fits + "a")}), 400, "invalid_value", field)
    assert "300 tokens" in message
    assert "MAX_TOKENIZE_TOKENS" in message


def test_max_tokenize_tokens_is_the_total_of_all_texts(api: httpx.Client) -> None:
    texts = ["a " * 100] * 3
    refused(api.post("/tokenize", json={"inputs": texts}), 400, "invalid_value", "inputs")
    assert len(ok(api.post("/tokenize", json={"inputs": texts[:2]}))) == 2


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/tokenize", {"input": ["a", "日" * 667]}, "input.1"),
        ("/v1/tokenize", {"input": "a" * 2_001}, "input"),
        ("/tokenize", {"inputs": ["a" * 2_001]}, "inputs"),
        ("/v1/tokenize", {"text": "a" * 2_001}, "text"),
    ],
)
def test_token_counts_reject_texts_beyond_max_text_bytes(
    api: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    message = refused(api.post(path, json=body), 400, "invalid_value", param)
    assert message == (
        f"{param} has 2001 bytes; the limit for counting tokens is 2000 (MAX_TEXT_BYTES). Split the text."
    )


def test_inputs_are_read_up_to_max_text_bytes(api: httpx.Client, default: ReferenceEmbedder) -> None:
    answer = embed(api, ["a", SPARSE])
    vectors = [entry["embedding"] for entry in answer["data"]]
    assert_allclose(vectors, default.encode(["a", "a planet"]), atol=ATOL)
    (warning,) = answer["warnings"]
    assert warning.startswith("input.1 was read up to the limit of MAX_TEXT_BYTES")
    from_the_end = embed(api, [SPARSE], truncate="START")["data"][0]["embedding"]
    assert_allclose([from_the_end], default.encode(["behind the limit"]), atol=ATOL)
    body = {"input": ["a", SPARSE], "truncate": False}
    assert "MAX_TEXT_BYTES" in refused(api.post("/v1/embeddings", json=body), 400, "input_too_long", "input.1")


def test_documents_are_read_up_to_max_text_bytes(api: httpx.Client) -> None:
    answer = rerank(api, "planet", ["a", SPARSE])
    plain = rerank(api, "planet", ["a", "a planet"])
    assert [result["index"] for result in answer["results"]] == [result["index"] for result in plain["results"]]
    assert_allclose(
        [result["relevance_score"] for result in answer["results"]],
        [result["relevance_score"] for result in plain["results"]],
        atol=ATOL,
    )
    assert answer["meta"]["warnings"][0].startswith("documents.1 was read up to the limit")
    body = {"query": "planet", "documents": [SPARSE], "truncate": "NONE"}
    refused(api.post("/v1/rerank", json=body), 400, "input_too_long", "documents.0")
    cosine = rerank(api, "planet", ["a", SPARSE], model=E5)
    assert cosine["meta"]["warnings"][0].startswith("documents.1 was read up to the limit")


@pytest.mark.parametrize(
    ("body", "setting"),
    [
        ({"input": [[1] * 3_100]}, "MAX_BODY_VALUES"),
        ({"input": "a", "unused": [1] * 3_100}, "MAX_BODY_VALUES"),
        ({"input": "a", "unused": [{}] * 101}, "MAX_BODY_FIELDS"),
    ],
)
def test_a_body_with_too_many_values_is_rejected(api: httpx.Client, body: dict[str, Any], setting: str) -> None:
    for path in ("/v1/embeddings", "/embeddings"):
        assert setting in refused(api.post(path, json=body), 413, "body_too_large")


def test_warnings_in_the_header(api: httpx.Client) -> None:
    response = api.post("/embed", json={"model": E5, "inputs": ["a", LONG], "mystery": 1})
    assert len(ok(response)) == 2
    ignored, _, cut = response.headers["X-Warnings"].partition(". ")
    assert ignored == "Ignored fields: mystery"
    assert cut.startswith("inputs.1 was cut from ")
    assert cut.endswith(" tokens to the model's limit of 512.")
    ranked = api.post("/rerank", json={"query": "q", "texts": ["a"], "return_scores": True})
    assert ranked.headers["X-Warnings"] == "Ignored fields: return_scores."
    tokenized = api.post("/tokenize", json={"inputs": "a", "mystery": 1})
    assert tokenized.headers["X-Warnings"] == "Ignored fields: mystery."
    inputs = {"source_sentence": "a", "sentences": ["b"]}
    compared = api.post("/similarity", json={"inputs": inputs, "parameters": {"mystery": 1}})
    assert compared.headers["X-Warnings"] == "Ignored fields: mystery."


@pytest.mark.parametrize(
    ("path", "field"), [("/v1/multi-vector", "input"), ("/embed_all", "inputs"), ("/v1/embeddings", "input")]
)
def test_token_vectors_beyond_max_output_numbers_are_rejected(api: httpx.Client, path: str, field: str) -> None:
    extra = {"return_colbert_vecs": True} if path == "/v1/embeddings" else {}
    assert ok(api.post(path, json={field: "a planet"} | extra))
    message = refused(api.post(path, json={field: ["a planet"] * 20} | extra), 413, "answer_too_large", field)
    assert "the limit is 1500 (MAX_OUTPUT_NUMBERS)" in message
    assert ok(api.post("/v1/multi-vector", json={"input": ["a planet"] * 20, "dimensions": 2}))
