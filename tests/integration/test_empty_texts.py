"""Empty texts: accepted as documents, and as a single input, whose vector is that of the special tokens."""

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.errors import refused
from tests.integration import reference
from tests.integration.conftest import DEFAULT_EMBEDDER, DEFAULT_RERANKER, Checkpoint, ok
from tests.integration.reference import ReferenceEmbedder, ReferenceReranker
from tests.tiny import corpus

QUERY = corpus.ENGLISH[0]
DOCUMENTS = [corpus.ENGLISH[1], "", " \n\t", corpus.JAPANESE[0], ""]
RERANKERS = {
    DEFAULT_RERANKER: 8192,
    "cross-encoder/ms-marco-MiniLM-L6-v2": 512,  # BERT
    "mixedbread-ai/mxbai-rerank-large-v1": 512,  # DeBERTa
    "hotchpotch/japanese-reranker-cross-encoder-base-v1": 512,  # MeCab, two segments
    "Alibaba-NLP/gte-reranker-modernbert-base": 8192,  # ModernBERT
}
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
ATOL = 1e-5

ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "/v1/rerank": ("/v1/rerank", {"documents": DOCUMENTS}),
    "/v1/rerank, objects": ("/v1/rerank", {"documents": [{"text": text} for text in DOCUMENTS]}),
    "/v1/rerank, rank_fields": (
        "/v1/rerank", {"documents": [{"body": text} for text in DOCUMENTS], "rank_fields": ["title", "body"]}
    ),
    "/v1/rerank, max_tokens_per_doc": ("/v1/rerank", {"documents": DOCUMENTS, "max_tokens_per_doc": 100}),
    "/v2/rerank": ("/v2/rerank", {"documents": DOCUMENTS}),
    "/v2/rerank, objects": ("/v2/rerank", {"documents": [{"text": text} for text in DOCUMENTS]}),
    "/rerank": ("/rerank", {"documents": DOCUMENTS}),
    "/rerank, texts": ("/rerank", {"texts": DOCUMENTS}),
}  # fmt: skip


def scores(answer: Any) -> list[float]:
    """The scores of any route's response, in the order of the documents."""
    results = answer["results"] if isinstance(answer, dict) else answer
    ordered = sorted(results, key=lambda result: result["index"])
    return [result.get("relevance_score", result.get("score")) for result in ordered]


@pytest.mark.parametrize("query", [QUERY, ""])
@pytest.mark.parametrize("name", RERANKERS)
def test_an_empty_document_has_the_references_score(
    name: str, query: str, checkpoint: Checkpoint, api: httpx.Client
) -> None:
    documents = DOCUMENTS if query else [text for text in DOCUMENTS if text]
    model = reference.reranker(name, checkpoint(name), RERANKERS[name])
    answer = ok(api.post("/v1/rerank", json={"model": name, "query": query, "documents": documents}))
    assert_allclose(scores(answer), model.predict(query, documents), atol=ATOL)


@pytest.mark.parametrize(("path", "body"), ROUTES.values(), ids=ROUTES)
def test_empty_documents_on_every_route(
    api: httpx.Client, reranker: ReferenceReranker, path: str, body: dict[str, Any]
) -> None:
    answer = ok(api.post(path, json={"query": QUERY} | body))
    assert_allclose(scores(answer), reranker.predict(QUERY, DOCUMENTS), atol=ATOL)


@pytest.mark.parametrize(("path", "body"), ROUTES.values(), ids=ROUTES)
def test_an_empty_query_with_an_empty_document_is_rejected(api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    field = "texts" if "texts" in body else "documents"
    message = refused(api.post(path, json={"query": ""} | body), 400, "invalid_value", f"{field}.1")
    assert message == f"{field}.1 and query are both empty; one of them must have text."


@pytest.mark.parametrize("model", [MINILM, DEFAULT_EMBEDDER])
def test_an_embedding_model_ranks_empty_documents(checkpoint: Checkpoint, api: httpx.Client, model: str) -> None:
    embedder = reference.embedder(model, checkpoint(model), 256)
    body = {"model": model, "query": QUERY, "documents": DOCUMENTS}
    cosines = embedder.encode(DOCUMENTS) @ embedder.encode([QUERY])[0]
    assert_allclose(scores(ok(api.post("/v1/rerank", json=body))), (1 + cosines) / 2, atol=ATOL)


def test_similarity_accepts_one_empty_sentence_of_a_pair(api: httpx.Client, default: ReferenceEmbedder) -> None:
    inputs = {"source_sentence": QUERY, "sentences": DOCUMENTS}
    found = ok(api.post("/similarity", json={"inputs": inputs}))
    assert_allclose(np.asarray(found), default.encode(DOCUMENTS) @ default.encode([QUERY])[0], atol=ATOL)
    none = {"source_sentence": "", "sentences": ["a", ""]}
    refused(api.post("/similarity", json={"inputs": none}), 400, "invalid_value", "inputs.sentences.1")


@pytest.mark.parametrize("given", ["", {"text": ""}])
def test_one_empty_input_has_the_vector_of_the_special_tokens(
    api: httpx.Client, default: ReferenceEmbedder, given: object
) -> None:
    answer = ok(api.post("/v1/embeddings", json={"input": given}))
    (entry,) = answer["data"]
    assert_allclose([entry["embedding"]], default.encode([""]), atol=ATOL)
    assert answer["usage"]["prompt_tokens"] == default.count([""])
    (warning,) = answer["warnings"]
    assert warning.startswith("input is empty: ")


def test_empty_input_warnings_in_the_header(api: httpx.Client, default: ReferenceEmbedder) -> None:
    response = api.post("/embed", json={"inputs": ""})
    assert_allclose(np.asarray(ok(response)), default.encode([""]), atol=ATOL)
    assert response.headers["X-Warnings"].startswith("inputs is empty: ")
    assert "X-Warnings" not in api.post("/embed", json={"inputs": "a"}).headers


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"input": [""]}, "input.0"),
        ("/v1/embeddings", {"input": ["a", {"text": ""}]}, "input.1"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": [[]]}, "input.0"),
        ("/v1/embed", {"texts": ["a", ""]}, "texts.1"),
        ("/v2/embed", {"texts": [""]}, "texts.0"),
        ("/v2/embed", {"inputs": [{"content": [{"type": "text", "text": ""}]}]}, "inputs.0.content.0.text"),
        ("/embed", {"inputs": ["", "a"]}, "inputs.0"),
    ],
)
def test_an_empty_input_in_a_list_is_rejected(api: httpx.Client, path: str, body: dict[str, Any], param: str) -> None:
    refused(api.post(path, json=body), 400, "invalid_value", param)


def test_tokenize_counts_special_tokens_of_an_empty_text(api: httpx.Client, default: ReferenceEmbedder) -> None:
    counted = ok(api.post("/v1/tokenize", json={"input": ""}))
    assert counted["data"][0]["tokens"] == counted["special_tokens"] == default.count([""])
    body: Any = ok(api.post("/tokenize", json={"inputs": ""}))
    assert [token["special"] for token in body[0]] == [True] * counted["special_tokens"]
    cohere = ok(api.post("/v1/tokenize", json={"text": ""}))
    assert (cohere["tokens"], cohere["token_strings"]) == ([], [])
