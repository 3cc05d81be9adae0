"""/v1/rerank: the scores of sentence-transformers, best first."""

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.integration import reference
from tests.integration.conftest import Checkpoint, embed, rerank
from tests.integration.reference import ATOL, LONG, TEXTS, ReferenceReranker
from tests.tiny import corpus

LIMITS = {
    "cross-encoder/ms-marco-MiniLM-L6-v2": 512,  # BERT
    "BAAI/bge-reranker-base": 512,  # XLM-RoBERTa
    "mixedbread-ai/mxbai-rerank-large-v1": 512,  # DeBERTa, eager attention
    "hotchpotch/japanese-reranker-cross-encoder-base-v1": 512,  # BERT for Japanese: MeCab, two segments
    "hotchpotch/japanese-reranker-cross-encoder-small-v1": 512,  # BERT with XLM-RoBERTa's tokenizer
    "Alibaba-NLP/gte-reranker-modernbert-base": 8192,  # ModernBERT
}
SHORT_LIMITS = [name for name, limit in LIMITS.items() if limit <= 512]
TOO_LONG = [pytest.param(name, query) for name in SHORT_LIMITS for query in (corpus.ENGLISH[0], LONG)]
QUERIES = [corpus.ENGLISH[0], corpus.JAPANESE[1]]


@pytest.fixture(params=LIMITS)
def name(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> str:
    """Each model, imported."""
    checkpoint(request.param)
    full_name: str = request.param
    return full_name


def expected(name: str, checkpoint: Checkpoint) -> ReferenceReranker:
    return reference.reranker(name, checkpoint(name), LIMITS[name])


def scores(body: dict[str, Any]) -> list[float]:
    """The scores in the order of the documents."""
    by_index = {result["index"]: result["relevance_score"] for result in body["results"]}
    return [by_index[index] for index in range(body["meta"]["total_documents"])]


@pytest.mark.parametrize("query", QUERIES)
def test_scores_equal_the_reference(name: str, query: str, checkpoint: Checkpoint, api: httpx.Client) -> None:
    model = expected(name, checkpoint)
    assert_allclose(scores(rerank(api, query, TEXTS, model=name)), model.predict(query, TEXTS), atol=ATOL)


def test_other_documents_do_not_change_a_score(name: str, api: httpx.Client) -> None:
    query = QUERIES[0]
    alone = [scores(rerank(api, query, [text], model=name))[0] for text in TEXTS]
    backwards = scores(rerank(api, query, TEXTS[::-1], model=name))[::-1]
    twice = scores(rerank(api, query, TEXTS + TEXTS, model=name))
    assert_allclose(alone, backwards, atol=ATOL)
    assert_allclose(alone, twice[: len(TEXTS)], atol=ATOL)
    assert_allclose(alone, twice[len(TEXTS) :], atol=ATOL)


def test_usage_is_the_tokenizers_count(name: str, checkpoint: Checkpoint, api: httpx.Client) -> None:
    documents = [*TEXTS, TEXTS[0]]
    usage = rerank(api, QUERIES[0], documents, model=name)["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"]
    assert usage["prompt_tokens"] == expected(name, checkpoint).count(QUERIES[0], documents)


@pytest.mark.parametrize(("name", "query"), TOO_LONG)
def test_long_pairs_are_truncated_longest_first(
    name: str, query: str, checkpoint: Checkpoint, api: httpx.Client
) -> None:
    model = expected(name, checkpoint)
    documents = ["short", LONG, corpus.JAPANESE[0], LONG]
    body = rerank(api, query, documents, model=name)
    assert_allclose(scores(body), model.predict(query, documents), atol=ATOL)
    assert body["usage"]["prompt_tokens"] == model.count(query, documents)
    cut = [1, 3] if query is not LONG else [0, 1, 2, 3]
    assert [warning.split()[0] for warning in body["meta"]["warnings"]] == [f"documents.{index}" for index in cut]
    assert body["meta"]["warnings"][0].endswith(f" tokens to the model's limit of {LIMITS[name]}.")
    request = {"model": name, "query": query, "documents": documents, "truncate": False}
    refused = api.post("/v1/rerank", json=request)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "input_too_long"
    assert refused.json()["error"]["param"] == f"documents.{cut[0]}"


def test_results_are_best_first_and_ties_in_input_order(api: httpx.Client) -> None:
    documents = [*TEXTS, *TEXTS]
    results = rerank(api, QUERIES[0], documents)["results"]
    keys = [(-result["relevance_score"], result["index"]) for result in results]
    assert keys == sorted(keys)
    assert len({result["relevance_score"] for result in results}) <= len(TEXTS)


@pytest.mark.parametrize(("top_n", "returned"), [(1, 1), (3, 3), (0, 20), (None, 20), (20, 20), (999, 20), (2**80, 20)])
def test_top_n(api: httpx.Client, top_n: int | None, returned: int) -> None:
    everything = rerank(api, QUERIES[0], TEXTS)["results"]
    body = rerank(api, QUERIES[0], TEXTS, top_n=top_n)
    assert len(TEXTS) == 20
    assert [result["index"] for result in body["results"]] == [result["index"] for result in everything][:returned]
    assert body["meta"]["total_documents"] == len(TEXTS)
    assert body["meta"]["returned_documents"] == returned


def test_negative_top_n_is_rejected(api: httpx.Client) -> None:
    refused = api.post("/v1/rerank", json={"query": "q", "documents": ["d"], "top_n": -1})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "top_n"


@pytest.mark.parametrize(
    ("requested", "returned"), [(True, True), ("true", True), (False, False), ("false", False), (None, False)]
)
def test_documents_are_returned_only_on_request(api: httpx.Client, requested: object, returned: bool) -> None:
    for result in rerank(api, QUERIES[0], TEXTS, return_documents=requested)["results"]:
        if returned:
            assert result["document"] == TEXTS[result["index"]]
        else:
            assert set(result) == {"index", "relevance_score"}


def test_response_format(api: httpx.Client) -> None:
    body = rerank(api, "q", ["a", "b"])
    unknown = rerank(api, "q", ["a", "b"], unknown_field=[1])
    assert unknown["results"] == body["results"]
    assert unknown["meta"]["warnings"] == ["Ignored fields: unknown_field."]
    assert set(body) == {"id", "model", "results", "usage", "meta", "object", "data"}
    assert body["model"] == "BAAI/bge-reranker-v2-m3"
    meta = body["meta"]
    assert set(meta) == {"api_version", "processing_time_ms", "total_documents", "returned_documents"}
    assert meta["api_version"] == "v1"
    assert meta["processing_time_ms"] > 0
    assert rerank(api, "q", ["a", "b"])["id"] != body["id"]
    assert rerank(api, "q", ["a"], model="BGE-Reranker-V2-M3")["model"] == "BGE-Reranker-V2-M3"


def test_an_embedding_model_ranks_by_cosine(checkpoint: Checkpoint, api: httpx.Client) -> None:
    name = "sentence-transformers/all-MiniLM-L6-v2"
    model = reference.embedder(name, checkpoint(name), 256)
    query, documents = QUERIES[0], [*TEXTS, TEXTS[3]]
    body = rerank(api, query, documents, model=name)
    cosines = model.encode(documents) @ model.encode([query])[0]
    assert_allclose(scores(body), (1 + cosines) / 2, atol=ATOL)
    assert body["usage"]["prompt_tokens"] == model.count([query, *documents])
    assert min(scores(body)) >= 0
    assert max(scores(body)) <= 1


def test_cosine_ranking_uses_the_prompt_of_each_side(checkpoint: Checkpoint, api: httpx.Client) -> None:
    name = "intfloat/multilingual-e5-base"
    model = reference.embedder(name, checkpoint(name), 512)
    documents = [f"passage: {text}" for text in TEXTS]
    cosines = model.encode(documents) @ model.encode([f"query: {QUERIES[0]}"])[0]
    assert_allclose(scores(rerank(api, QUERIES[0], TEXTS, model=name)), (1 + cosines) / 2, atol=ATOL)
    vector = embed(api, [TEXTS[0]], model=name)["data"][0]["embedding"]  # alone, a text gets no prompt
    assert_allclose(vector, model.encode([TEXTS[0]])[0], atol=ATOL)


def test_cosine_ranking_reports_truncation(checkpoint: Checkpoint, api: httpx.Client) -> None:
    name = "sentence-transformers/all-MiniLM-L6-v2"
    checkpoint(name)
    body = rerank(api, LONG, ["short", LONG], model=name)
    assert [warning.split()[0] for warning in body["meta"]["warnings"]] == ["documents.1", "query"]
    refused = api.post("/v1/rerank", json={"model": name, "query": LONG, "documents": ["short"], "truncate": False})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "query"


def test_high_scores_stay_distinct(api: httpx.Client) -> None:
    """The sigmoid is computed in float64, so that different logits have different scores."""
    values = scores(rerank(api, QUERIES[0], TEXTS))
    assert len(np.unique(values)) >= len(TEXTS) - 2  # the whitespace texts have the same tokens
