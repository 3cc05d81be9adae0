"""/v1/embeddings, /v1/rerank and /v1/tokenize with the fields of OpenAI, Jina, Voyage and Cohere's older SDK."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sentence_transformers.util.quantization import quantize_embeddings
from transformers import AutoTokenizer

from tests.errors import refused
from tests.integration import reference
from tests.integration.conftest import (
    DEFAULT_EMBEDDER,
    DEFAULT_RERANKER,
    E5,
    Checkpoint,
    embed,
    ok,
    rerank,
    without_id,
)
from tests.integration.reference import ATOL, LONG, TEXTS, ReferenceEmbedder, ReferenceReranker
from tests.tiny import corpus
from tests.tolerance import scaled

MATRYOSHKA = "mixedbread-ai/mxbai-embed-large-v1"
QUERY = corpus.ENGLISH[0]
DTYPES = {"float": "<f4", "int8": "<i1", "uint8": "<u1", "binary": "<i1", "ubinary": "<u1"}
COHERE_SDK = {"X-Fern-SDK-Name": "cohere"}
LITELLM = {"User-Agent": "litellm/1.109.1"}
HELLO = ([9906, 11, 1917, 0], "Hello, world!")
TOKYO = ([9080, 22656, 16144, 61075, 72368, 15682, 14276, 109, 47653, 38641, 1811], "日本の首都は東京です。")
"""cl100k_base ids and text, by tiktoken 0.14.0."""


def vectors(body: dict[str, Any], dtype: str = "<f4") -> NDArray[Any]:
    """The vectors (N, D) of a response with lists of numbers or base64."""
    rows = [entry["embedding"] for entry in body["data"]]
    if isinstance(rows[0], str):
        return np.stack([np.frombuffer(base64.b64decode(row), dtype=dtype) for row in rows])
    return np.asarray(rows).astype(dtype)


def quantised(floats: NDArray[np.float32], name: Any) -> NDArray[Any]:
    """Quantized by sentence-transformers; each vector has its own range."""
    if name == "float":
        return floats
    limits = [np.full(len(vector), np.abs(vector).max()) for vector in floats]
    return np.stack(
        [
            quantize_embeddings(vector[None], precision=name, ranges=np.stack([-limit, limit]))[0]
            for vector, limit in zip(floats, limits, strict=True)
        ]
    )


def scores(body: dict[str, Any]) -> list[float]:
    """The scores in the order of the documents."""
    return [result["relevance_score"] for result in sorted(body["results"], key=lambda result: result["index"])]


def test_embeddings_has_an_alias(api: httpx.Client, default: ReferenceEmbedder) -> None:
    body = without_id(api.post("/embeddings", json={"input": TEXTS}))
    assert_allclose(vectors(body), default.encode(TEXTS), atol=ATOL)
    assert body == embed(api, TEXTS)


def test_objects_with_text_are_embedded(api: httpx.Client, default: ReferenceEmbedder) -> None:
    body = ok(api.post("/v1/embeddings", json={"input": [{"text": TEXTS[0]}, TEXTS[1], {"text": TEXTS[2], "id": 1}]}))
    assert_allclose(vectors(body), default.encode(TEXTS[:3]), atol=ATOL)
    assert_allclose(
        vectors(ok(api.post("/v1/embeddings", json={"input": {"text": TEXTS[0]}}))),
        default.encode(TEXTS[:1]),
        atol=ATOL,
    )


@pytest.mark.parametrize("name", ["float", "ubinary", "binary", "int8"])
def test_encoding_type_is_an_alias_for_llama_index(api: httpx.Client, default: ReferenceEmbedder, name: Any) -> None:
    """JinaEmbedding of llama-index-embeddings-jinaai 0.7.0 sends it and unpacks ubinary."""
    dtype = DTYPES[name]
    body = embed(api, TEXTS, encoding_type=name)
    assert_array_equal(vectors(body, dtype), vectors(embed(api, TEXTS, embedding_type=[name]), dtype))
    assert_allclose(vectors(body, dtype), quantised(default.encode(TEXTS), name), atol=ATOL if name == "float" else 1)
    if name == "ubinary":
        bits = np.unpackbits(vectors(body, dtype), axis=1)
        assert (bits == (default.encode(TEXTS) > 0)).mean() > 0.99


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a", "dimensions": 8, "priority": 1}),
        ("/v1/embeddings", {"input": "a", "output_dimension": 8}),
        ("/v1/embeddings", {"input": [5, 6], "token_encoding": "model"}),
        ("/v1/embeddings", {"input": [[9906], [1917, 0]]}),
        ("/v1/rerank", {"query": "q", "documents": ["a", "b"], "top_n": 1, "max_tokens_per_doc": 5, "priority": 1}),
        ("/v1/rerank", {"query": "q", "documents": ["a", "b"], "top_k": 1}),
        ("/v2/rerank", {"query": "q", "documents": ["a", "b"], "top_n": 1, "max_tokens_per_doc": 5, "priority": 1}),
        ("/v1/embed", {"texts": ["a"], "output_dimension": 8, "priority": 1}),
        ("/embed", {"inputs": ["a"], "dimensions": 8}),
        ("/embed", {"inputs": [5, 6]}),
    ],
)
def test_integers_may_have_a_decimal_point(api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    """Some clients send 8 as 8.0."""

    def with_points(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: with_points(item) for name, item in value.items()}
        if isinstance(value, list):
            return [with_points(item) for item in value]
        return float(value) if isinstance(value, int) else value

    def without_id(answer: Any) -> Any:
        return {name: answer[name] for name in ("data", "results", "embeddings") if name in answer} or answer

    sent = json.dumps(with_points(body))
    assert ".0" in sent
    answer = ok(api.post(path, content=sent, headers={"Content-Type": "application/json"}))
    assert without_id(answer) == without_id(ok(api.post(path, json=body)))


def test_normalize_is_an_alias_of_normalized(api: httpx.Client) -> None:
    raw = embed(api, TEXTS, normalized=False)
    assert embed(api, TEXTS, normalize=False) == raw
    assert embed(api, TEXTS, normalize=True) == embed(api, TEXTS) != raw


def test_returned_documents_keep_their_numbers_or_are_rejected(api: httpx.Client) -> None:
    body = b'{"query": "q", "documents": ["a", {"text": "b", "n": %b}], "return_documents": %b}'
    headers = {"Content-Type": "application/json"}
    for number in (b"9" * 4000, b"18446744073709551616", b"0.1", b"1e300", b"null"):
        answer = ok(api.post("/v1/rerank", content=body % (number, b"true"), headers=headers))
        (found,) = [result["document"] for result in answer["results"] if result["index"] == 1]
        assert found == {"text": "b", "n": json.loads(number)}
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        message = refused(
            api.post(path, content=body % (b"1e400", b"true"), headers=headers), 400, "invalid_value", "documents.1"
        )
        assert "too large to return" in message
        ok(api.post(path, content=body % (b"1e400", b"false"), headers=headers))
    longer = api.post("/v1/rerank", content=body % (b"9" * 4301, b"true"), headers=headers)
    assert "4300 digits" in refused(longer, 400, "invalid_value")


@pytest.mark.parametrize("encoding", [{}, {"token_encoding": None}, {"token_encoding": "cl100k_base"}])
def test_cl100k_base_token_ids(api: httpx.Client, default: ReferenceEmbedder, encoding: dict[str, Any]) -> None:
    (hello_ids, hello), (tokyo_ids, tokyo) = HELLO, TOKYO
    body = ok(api.post("/v1/embeddings", json={"input": [hello_ids, tokyo_ids], **encoding}))
    assert_allclose(vectors(body), default.encode([hello, tokyo]), atol=ATOL)
    assert body["usage"]["prompt_tokens"] == default.count([hello, tokyo])
    one = ok(api.post("/v1/embeddings", json={"input": tokyo_ids, **encoding}))
    assert_allclose(vectors(one), default.encode([tokyo]), atol=ATOL)


def test_many_token_ids_have_the_same_vectors(api: httpx.Client, default: ReferenceEmbedder) -> None:
    """LangChain sends long arrays, which are decoded on another thread."""
    ids, text = TOKYO
    body = ok(api.post("/v1/embeddings", json={"input": [ids * 100, ids, ids * 100]}))
    assert_allclose(vectors(body), default.encode([text * 100, text, text * 100]), atol=ATOL)


def test_token_ids_of_the_model(api: httpx.Client, checkpoint: Checkpoint, default: ReferenceEmbedder) -> None:
    ids = AutoTokenizer.from_pretrained(checkpoint(DEFAULT_EMBEDDER))(TEXTS[:4], add_special_tokens=False)["input_ids"]
    body = ok(api.post("/v1/embeddings", json={"input": [*ids, ids[0]], "token_encoding": "model"}))
    assert_allclose(vectors(body), default.encode([*TEXTS[:4], TEXTS[0]]), atol=ATOL)
    assert body["usage"]["prompt_tokens"] == default.count([*TEXTS[:4], TEXTS[0]])


@pytest.mark.parametrize("encoding", ["cl100k_base", "model"])
def test_an_unknown_token_id_is_rejected_with_its_index(api: httpx.Client, encoding: str) -> None:
    body = {"input": [[5], [5], [6, 2 * 10**6]], "token_encoding": encoding}
    refused(api.post("/v1/embeddings", json=body), 400, "invalid_value", "input.2")


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("field", ["output_dtype", "embedding_type"])
@pytest.mark.parametrize("name", DTYPES)
def test_output_types(api: httpx.Client, default: ReferenceEmbedder, name: str, field: str, coded: bool) -> None:
    floats = vectors(embed(api, TEXTS))
    assert_allclose(floats, default.encode(TEXTS), atol=ATOL)
    found = embed(api, TEXTS, **{field: name}, encoding_format="base64" if coded else None)
    assert isinstance(found["data"][0]["embedding"], str if coded else list)
    assert_array_equal(vectors(found, DTYPES[name]), quantised(floats, name))


def test_jinas_embedding_type_base64(api: httpx.Client) -> None:
    coded = embed(api, TEXTS, embedding_type="base64")
    assert coded == embed(api, TEXTS, encoding_format="base64")
    assert_array_equal(vectors(coded), vectors(embed(api, TEXTS)))


def test_normalized_false_returns_raw_vectors(api: httpx.Client, default: ReferenceEmbedder) -> None:
    pooled = default.pooled(TEXTS)
    assert_allclose(vectors(embed(api, TEXTS, normalized=False)), pooled, atol=scaled(pooled, ATOL))
    assert_allclose(vectors(embed(api, TEXTS, normalized=True)), default.encode(TEXTS), atol=ATOL)


@pytest.mark.parametrize("field", ["dimensions", "output_dimension"])
def test_untrained_dimensions_have_a_warning(api: httpx.Client, default: ReferenceEmbedder, field: str) -> None:
    cut = default.encode(TEXTS)[:, :10]
    body = embed(api, TEXTS, **{field: 10})
    assert_allclose(vectors(body), cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=ATOL)
    width = default.encode(TEXTS).shape[1]
    assert body["warnings"] == [
        "bge-m3 was not trained for truncated vectors (Matryoshka): expect worse results with 10 of its "
        f"{width} dimensions."
    ]
    assert "warnings" not in embed(api, TEXTS, **{field: width})


def test_dimensions_between_trained_ones_have_a_warning(api: httpx.Client, checkpoint: Checkpoint) -> None:
    checkpoint(MATRYOSHKA)
    (warning,) = embed(api, ["a"], model=MATRYOSHKA, dimensions=8)["warnings"]
    assert warning.startswith("mxbai-embed-large was not trained for 8 dimensions, but for 512 and ")


@pytest.mark.parametrize(
    ("task", "prompt"),
    [("retrieval.query", "query: "), ("retrieval.passage", "passage: "), ("text-matching", None), (None, None)],
)
def test_jinas_task_is_an_input_type(
    api: httpx.Client, e5: ReferenceEmbedder, task: str | None, prompt: str | None
) -> None:
    assert_allclose(vectors(embed(api, TEXTS, model=E5, task=task)), e5.encode(TEXTS, prompt=prompt), atol=ATOL)


@pytest.mark.parametrize("field", ["truncate", "truncation"])
@pytest.mark.parametrize(("value", "side"), [(True, "right"), ("END", "right"), ("start", "left"), (None, "right")])
def test_truncate_cuts_the_requested_end(
    api: httpx.Client, e5: ReferenceEmbedder, field: str, value: object, side: Any
) -> None:
    body = embed(api, ["short", LONG], model=E5, **{field: value})
    assert_allclose(vectors(body), e5.encode(["short", LONG], cut=side), atol=ATOL)
    assert body["warnings"][0].startswith("input.1 was cut from ")


@pytest.mark.parametrize("field", ["truncate", "truncation"])
@pytest.mark.parametrize("value", [False, "NONE", "false"])
def test_truncate_false_rejects_long_texts(api: httpx.Client, e5: ReferenceEmbedder, field: str, value: object) -> None:
    body = {"model": E5, "input": ["short", LONG], field: value}
    refused(api.post("/v1/embeddings", json=body), 400, "input_too_long", "input.1")


def test_documents_may_be_objects(api: httpx.Client, reranker: ReferenceReranker) -> None:
    documents: list[Any] = [{"text": text, "id": index} for index, text in enumerate(TEXTS[:-1])] + TEXTS[-1:]
    for path in ("/v1/rerank", "/rerank"):
        request = {"query": {"text": QUERY}, "documents": documents, "return_documents": True}
        body = ok(api.post(path, json=request))
        assert_allclose(scores(body), reranker.predict(QUERY, TEXTS), atol=ATOL)
        assert all(result["document"] == documents[result["index"]] for result in body["results"])


def test_rank_fields_are_joined_in_their_order(api: httpx.Client, reranker: ReferenceReranker) -> None:
    documents: list[Any] = [{"title": TEXTS[0], "body": TEXTS[1]}, {"body": TEXTS[2], "n": 3}, TEXTS[3]]
    body = ok(api.post("/v1/rerank", json={"query": QUERY, "documents": documents, "rank_fields": ["body", "title"]}))
    read = [f"{TEXTS[1]}\n{TEXTS[0]}", TEXTS[2], TEXTS[3]]
    assert_allclose(scores(body), reranker.predict(QUERY, read), atol=ATOL)


def test_raw_scores(api: httpx.Client, checkpoint: Checkpoint, reranker: ReferenceReranker) -> None:
    body = rerank(api, QUERY, TEXTS, raw_scores=True)
    logits = reranker.predict(QUERY, TEXTS, raw=True)
    assert_allclose(scores(body), logits, atol=scaled(logits, ATOL))
    model = reference.embedder(E5, checkpoint(E5), 512)
    cosines = model.encode(TEXTS, prompt="passage: ") @ model.encode([QUERY], prompt="query: ")[0]
    assert_allclose(scores(rerank(api, QUERY, TEXTS, model=E5, raw_scores=True)), cosines, atol=ATOL)


def test_max_tokens_per_doc(api: httpx.Client, checkpoint: Checkpoint, reranker: ReferenceReranker) -> None:
    body = rerank(api, QUERY, TEXTS, max_tokens_per_doc=4)
    shortened = [reranker.first_tokens(text, 4) for text in TEXTS]
    assert_allclose(scores(body), reranker.predict(QUERY, shortened), atol=ATOL)
    assert body["meta"]["warnings"][0].endswith(" tokens to the request's max_tokens_per_doc of 4.")
    assert "warnings" not in rerank(api, QUERY, TEXTS)["meta"]
    model = reference.embedder(E5, checkpoint(E5), 512)
    cosines = model.encode(shortened, prompt="passage: ") @ model.encode([QUERY], prompt="query: ")[0]
    found = scores(rerank(api, QUERY, TEXTS, model=E5, max_tokens_per_doc=4))
    assert_allclose(found, (1 + cosines) / 2, atol=ATOL)


def test_a_document_shortened_by_max_tokens_is_not_too_long(api: httpx.Client) -> None:
    body = rerank(api, QUERY, [LONG], max_tokens_per_doc=100, truncate=False)
    assert body["meta"]["warnings"][0].startswith("documents.0 was cut from ")


@pytest.mark.parametrize("fields", [{"top_k": 2}, {"top_k": 2, "top_n": 2}, {"top_k": None}, {"truncation": True}, {}])
def test_clients_of_voyage_and_pinecone_get_the_results_in_data(api: httpx.Client, fields: dict[str, Any]) -> None:
    body = rerank(api, QUERY, TEXTS, **fields)
    assert body["object"] == "list"
    assert body["data"] == [result | {"score": result["relevance_score"]} for result in body["results"]]
    assert body["usage"]["rerank_units"] == 1
    assert body["results"] == rerank(api, QUERY, TEXTS, top_n=fields.get("top_k"))["results"]


def test_coheres_sdk_gets_documents_as_objects(api: httpx.Client) -> None:
    documents: list[Any] = ["a", {"text": "b", "id": 1}]
    request = {"query": "q", "documents": documents, "return_documents": True}
    objects = [{"text": "a"}, documents[1]]
    for headers, expected in ((COHERE_SDK, objects), (LITELLM, objects), ({}, documents)):
        body = ok(api.post("/v1/rerank", json=request, headers=headers))
        for result in body["results"]:
            assert result["document"] == expected[result["index"]]
        assert body["meta"]["api_version"] == ({"version": "1"} if headers else "v1")
        alias = ok(api.post("/rerank", json=request, headers=headers))
        assert alias["meta"]["api_version"] == body["meta"]["api_version"]
        for result in alias["results"]:
            assert result["document"] == documents[result["index"]]
    silent = ok(api.post("/v1/rerank", json=request | {"return_documents": False}, headers=COHERE_SDK))
    assert all(set(result) == {"index", "relevance_score"} for result in silent["results"])


def test_token_counts(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    texts = [*TEXTS, LONG]
    body = ok(api.post("/v1/tokenize", json={"model": E5, "input": texts}))
    counts = [e5.count([text]) for text in TEXTS]
    assert [entry["tokens"] for entry in body["data"][:-1]] == counts
    assert [entry["index"] for entry in body["data"]] == list(range(len(texts)))
    assert [entry["fits"] for entry in body["data"]] == [*[True] * len(TEXTS), False]
    assert {entry["object"] for entry in body["data"]} == {"token_count"}
    assert (body["object"], body["model"], body["max_tokens"], body["special_tokens"]) == ("list", E5, 512, 2)
    total = sum(entry["tokens"] for entry in body["data"])
    assert body["usage"] == {"prompt_tokens": total, "total_tokens": total}
    (one,) = ok(api.post("/v1/tokenize", json={"model": E5, "input": QUERY, "input_type": "query"}))["data"]
    assert one["tokens"] == e5.count([f"query: {QUERY}"])


def test_token_counts_of_a_reranker(api: httpx.Client, reranker: ReferenceReranker) -> None:
    assert ok(api.post("/v1/tokenize", json={"model": DEFAULT_RERANKER, "input": "a"}))["max_tokens"] == 8192
