"""Cohere's routes /v1/embed, /v2/embed and /v2/rerank: its format, with the numbers of sentence-transformers."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sentence_transformers.util.quantization import quantize_embeddings
from transformers import AutoTokenizer

from tests.errors import refused
from tests.integration.conftest import DEFAULT_EMBEDDER, DEFAULT_RERANKER, E5, Checkpoint, ok
from tests.integration.reference import ATOL, LONG, TEXTS, ReferenceEmbedder, ReferenceReranker
from tests.tiny import corpus

QUERY = corpus.ENGLISH[0]
EMBED = ("/v1/embed", "/v2/embed")


def floats(body: dict[str, Any]) -> NDArray[np.float32]:
    """The float vectors of a response by type."""
    return np.asarray(body["embeddings"]["float"], dtype=np.float32)


def test_v1_embed_returns_a_plain_list(api: httpx.Client, default: ReferenceEmbedder) -> None:
    body = ok(api.post("/v1/embed", json={"texts": TEXTS, "input_type": "search_document"}))
    assert_allclose(np.asarray(body["embeddings"]), default.encode(TEXTS), atol=ATOL)
    assert set(body) == {"id", "response_type", "texts", "embeddings", "meta"}
    assert body["response_type"] == "embeddings_floats"
    assert body["texts"] == TEXTS
    tokens = default.count(TEXTS)
    assert body["meta"] == {
        "api_version": {"version": "1"},
        "billed_units": {"input_tokens": tokens},
        "tokens": {"input_tokens": tokens},
    }


def test_v2_embed_returns_vectors_by_type(api: httpx.Client, default: ReferenceEmbedder) -> None:
    body = ok(api.post("/v2/embed", json={"texts": TEXTS}))
    assert_allclose(floats(body), default.encode(TEXTS), atol=ATOL)
    assert (body["response_type"], body["meta"]["api_version"]) == ("embeddings_by_type", {"version": "2"})
    assert set(body["embeddings"]) == {"float"}
    assert ok(api.post("/v2/embed", json={"texts": ["a"]}))["id"] != body["id"]


@pytest.mark.parametrize("path", EMBED)
def test_other_types_are_the_quantized_float_vectors(api: httpx.Client, default: ReferenceEmbedder, path: str) -> None:
    types = ["ubinary", "int8", "float", "uint8", "binary", "base64", "int8"]
    body = ok(api.post(path, json={"texts": TEXTS, "embedding_types": types}))
    assert body["response_type"] == "embeddings_by_type"
    assert set(body["embeddings"]) == set(types)
    vectors = floats(body)
    assert_allclose(vectors, default.encode(TEXTS), atol=ATOL)
    for name in ("int8", "uint8", "binary", "ubinary"):
        for vector, row in zip(vectors, body["embeddings"][name], strict=True):
            largest = np.full(len(vector), np.abs(vector).max())
            (expected,) = quantize_embeddings(vector[None], precision=name, ranges=np.stack([-largest, largest]))
            assert_array_equal(np.asarray(row), expected)
    decoded = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in body["embeddings"]["base64"]]
    assert_array_equal(np.stack(decoded), vectors)


@pytest.mark.parametrize("path", EMBED)
def test_only_requested_types_are_returned(api: httpx.Client, path: str) -> None:
    body = ok(api.post(path, json={"texts": ["a"], "embedding_types": ["int8"]}))
    assert set(body["embeddings"]) == {"int8"}


def test_inputs_with_content_parts(api: httpx.Client, default: ReferenceEmbedder) -> None:
    inputs = [
        {"content": [{"type": "text", "text": TEXTS[0]}]},
        {"content": [{"text": TEXTS[1]}, {"type": "text", "text": TEXTS[2]}]},
    ]
    body = ok(api.post("/v2/embed", json={"inputs": inputs, "texts": None}))
    assert_allclose(floats(body), default.encode([TEXTS[0], f"{TEXTS[1]}\n{TEXTS[2]}"]), atol=ATOL)
    assert body["texts"] == []


@pytest.mark.parametrize(
    ("input_type", "prompt"),
    [("search_query", "query: "), ("search_document", "passage: "), ("clustering", None), (None, None)],
)
def test_input_type_selects_the_prompt(
    api: httpx.Client, e5: ReferenceEmbedder, input_type: str | None, prompt: str | None
) -> None:
    body = ok(api.post("/v2/embed", json={"model": E5, "texts": TEXTS, "input_type": input_type}))
    assert_allclose(floats(body), e5.encode(TEXTS, prompt=prompt), atol=ATOL)


def test_output_dimension(api: httpx.Client, default: ReferenceEmbedder) -> None:
    body = ok(api.post("/v2/embed", json={"texts": TEXTS, "output_dimension": 10}))
    cut = default.encode(TEXTS)[:, :10]
    assert_allclose(floats(body), cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=ATOL)
    (warning,) = body["meta"]["warnings"]
    assert warning.startswith("bge-m3 was not trained for truncated vectors (Matryoshka)")


@pytest.mark.parametrize(("truncate", "side"), [("END", "right"), ("START", "left"), (None, "right")])
def test_truncate_cuts_the_requested_end(
    api: httpx.Client, e5: ReferenceEmbedder, truncate: str | None, side: Any
) -> None:
    texts = ["short", LONG]
    body = ok(api.post("/v2/embed", json={"model": E5, "texts": texts, "truncate": truncate}))
    assert_allclose(floats(body), e5.encode(texts, cut=side), atol=ATOL)
    (warning,) = body["meta"]["warnings"]
    assert warning.startswith("texts.1 was cut from ")
    assert body["meta"]["tokens"]["input_tokens"] == e5.count(["short"]) + 512


def test_start_and_end_truncation_differ(e5: ReferenceEmbedder) -> None:
    """The test above needs two different ends."""
    assert np.abs(e5.encode([LONG]) - e5.encode([LONG], cut="left")).max() > 100 * ATOL


def test_truncate_none_rejects_long_texts(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    body = {"model": E5, "texts": ["a", LONG], "truncate": "NONE"}
    refused(api.post("/v2/embed", json=body), 400, "input_too_long", "texts.1")
    inputs = [{"content": [{"text": LONG}]}]
    refused(
        api.post("/v2/embed", json={"model": E5, "inputs": inputs, "truncate": "NONE"}),
        400,
        "input_too_long",
        "inputs.0",
    )


def ranking(body: dict[str, Any]) -> list[float]:
    """Scores in the order of the documents."""
    return [result["relevance_score"] for result in sorted(body["results"], key=lambda result: result["index"])]


def test_rerank(api: httpx.Client, reranker: ReferenceReranker) -> None:
    documents: list[Any] = [{"text": TEXTS[0], "id": 7}, *TEXTS[1:]]
    body = ok(api.post("/v2/rerank", json={"query": QUERY, "documents": documents}))
    assert_allclose(ranking(body), reranker.predict(QUERY, TEXTS), atol=ATOL)
    assert set(body) == {"id", "results", "meta"}
    assert all(set(result) == {"index", "relevance_score"} for result in body["results"])
    values = [result["relevance_score"] for result in body["results"]]
    assert values == sorted(values, reverse=True)
    assert body["meta"] == {
        "api_version": {"version": "2"},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": reranker.count(QUERY, TEXTS)},
    }


@pytest.mark.parametrize(("documents", "units"), [(100, 1), (101, 2), (250, 3)])
def test_a_search_unit_is_a_hundred_documents(api: httpx.Client, documents: int, units: int) -> None:
    body = ok(api.post("/v2/rerank", json={"query": "q", "documents": ["d"] * documents, "top_n": 1}))
    assert body["meta"]["billed_units"] == {"search_units": units}
    assert len(body["results"]) == 1


def test_documents_are_returned_only_on_request(api: httpx.Client) -> None:
    """Early versions of Cohere's SDK request them, and expect objects."""
    documents = ["a", {"text": "b", "id": 1}]
    for given in ({}, {"return_documents": None}, {"return_documents": False}):
        body = ok(api.post("/v2/rerank", json={"query": "q", "documents": documents} | given))
        assert all("document" not in result for result in body["results"])
    body = ok(api.post("/v2/rerank", json={"query": "q", "documents": documents, "return_documents": True}))
    found = {result["index"]: result["document"] for result in body["results"]}
    assert found == {0: {"text": "a"}, 1: {"text": "b", "id": 1}}


def test_rank_fields_select_fields_of_objects(api: httpx.Client) -> None:
    documents = [{"title": QUERY, "text": "x"}, {"title": "x", "text": QUERY}]
    body = {"query": QUERY, "documents": documents, "rank_fields": ["title"]}
    v1, v2 = (ok(api.post(path, json=body)) for path in ("/v1/rerank", "/v2/rerank"))
    assert ranking(v2) == ranking(v1)
    assert ranking(v2) != ranking(ok(api.post("/v2/rerank", json=body | {"rank_fields": None})))


def test_ignored_fields_are_named_in_warnings(api: httpx.Client) -> None:
    for path, body in (
        ("/v2/rerank", {"query": "q", "documents": ["a"]}),
        ("/v1/embed", {"texts": ["a"]}),
        ("/v2/embed", {"texts": ["a"]}),
        ("/v1/tokenize", {"text": "a"}),
    ):
        assert ok(api.post(path, json=body | {"mystery": 1}))["meta"]["warnings"] == ["Ignored fields: mystery."]
        assert "warnings" not in ok(api.post(path, json=body))["meta"]


@pytest.mark.parametrize("tokens", [1, 7, 300])
def test_max_tokens_per_doc_truncates_documents(api: httpx.Client, reranker: ReferenceReranker, tokens: int) -> None:
    documents = [*TEXTS, LONG]
    body = ok(api.post("/v2/rerank", json={"query": QUERY, "documents": documents, "max_tokens_per_doc": tokens}))
    shortened = [reranker.first_tokens(text, tokens) for text in documents]
    assert shortened != documents
    assert_allclose(ranking(body), reranker.predict(QUERY, shortened), atol=ATOL)
    named = [warning.split()[0] for warning in body["meta"]["warnings"]]
    cut = [index for index, text in enumerate(documents) if shortened[index] != text]
    assert named == [f"documents.{index}" for index in cut]
    assert body["meta"]["warnings"][-1].endswith(f"to the request's max_tokens_per_doc of {tokens}.")


def test_documents_are_truncated_to_4096_tokens_by_default(api: httpx.Client, reranker: ReferenceReranker) -> None:
    text = LONG * 6
    first = reranker.first_tokens(text, 4096)
    assert first != text
    body = ok(api.post("/v2/rerank", json={"query": QUERY, "documents": ["short", text]}))
    assert_allclose(ranking(body), reranker.predict(QUERY, ["short", first]), atol=ATOL)
    (warning,) = body["meta"]["warnings"]
    assert warning.startswith("documents.1 was cut from ")
    assert warning.endswith(" tokens to the request's max_tokens_per_doc of 4096.")


@pytest.mark.parametrize("top_n", [None, 0, 2, 99])
def test_top_n(api: httpx.Client, top_n: int | None) -> None:
    body = ok(api.post("/v2/rerank", json={"query": "q", "documents": TEXTS, "top_n": top_n}))
    assert len(body["results"]) == (2 if top_n == 2 else len(TEXTS))


WRONG: list[tuple[str, dict[str, Any], str]] = [
    *[(path, {}, "texts") for path in EMBED],
    *[(path, {"texts": []}, "texts") for path in EMBED],
    ("/v2/embed", {"texts": "a"}, "texts"),
    ("/v2/embed", {"texts": ["a", ""]}, "texts.1"),
    ("/v2/embed", {"texts": ["a", 1]}, "texts.1"),
    ("/v2/embed", {"texts": ["a"] * 2049}, "texts"),
    ("/v2/embed", {"texts": ["a"], "inputs": [{"content": [{"text": "a"}]}]}, "texts"),
    ("/v2/embed", {"inputs": []}, "texts"),
    ("/v2/embed", {"inputs": [{"content": []}]}, "inputs.0.content"),
    ("/v2/embed", {"inputs": [{"content": [{"type": "image_url", "image_url": {}}]}]}, "inputs.0"),
    ("/v2/embed", {"texts": ["a"], "embedding_types": ["float", "int4"]}, "embedding_types.1"),
    ("/v2/embed", {"texts": ["a"], "embedding_types": "float"}, "embedding_types"),
    ("/v2/embed", {"texts": ["a"], "output_dimension": 0}, "output_dimension"),
    ("/v2/embed", {"texts": ["a"], "output_dimension": "8"}, "output_dimension"),
    ("/v2/embed", {"texts": ["a"], "truncate": "MIDDLE"}, "truncate"),
    ("/v2/embed", {"texts": ["a"], "input_type": "sideways"}, "input_type"),
    ("/v2/embed", {"texts": ["a"], "model": 1}, "model"),
    ("/v2/rerank", {"documents": ["d"]}, "query"),
    ("/v2/rerank", {"query": "q"}, "documents"),
    ("/v2/rerank", {"query": "q", "documents": []}, "documents"),
    ("/v2/rerank", {"query": "q", "documents": ["d", {"title": "t"}]}, "documents.1"),
    ("/v2/rerank", {"query": "q", "documents": ["d"], "max_tokens_per_doc": 0}, "max_tokens_per_doc"),
    ("/v2/rerank", {"query": "q", "documents": ["d"], "top_n": -1}, "top_n"),
    ("/v2/rerank", {"query": "q", "documents": ["d"] * 1001}, "documents"),
]


@pytest.mark.parametrize(("path", "body", "param"), WRONG)
def test_an_error_names_the_invalid_field(api: httpx.Client, path: str, body: dict[str, Any], param: str) -> None:
    message = refused(api.post(path, json=body), 400, "invalid_value", param)
    assert param.split(".")[0] in message


def test_too_many_dimensions_are_rejected(api: httpx.Client) -> None:
    body = {"texts": ["a"], "output_dimension": 10**6}
    refused(api.post("/v2/embed", json=body), 400, "invalid_value", "output_dimension")


@pytest.mark.parametrize("path", EMBED)
def test_embedding_with_a_reranker_is_rejected(api: httpx.Client, path: str) -> None:
    refused(api.post(path, json={"texts": ["a"], "model": DEFAULT_RERANKER}), 400, "wrong_model_kind", "model")


def test_tokenize_with_text_returns_coheres_format(api: httpx.Client, checkpoint: Checkpoint) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(DEFAULT_EMBEDDER))
    body = ok(api.post("/v1/tokenize", json={"text": TEXTS[1]}))
    assert body["tokens"] == tokenizer(TEXTS[1], add_special_tokens=False)["input_ids"]
    assert "".join(body["token_strings"]).replace(" ", "") == TEXTS[1].replace(" ", "")
    assert body["meta"] == {"api_version": {"version": "1"}}
    assert ok(api.post("/v1/tokenize", json={"text": TEXTS[1], "input": TEXTS[1]}))["object"] == "list"
