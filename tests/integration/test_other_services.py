"""Routes of Azure OpenAI, NVIDIA NIM, Mixedbread, ZeroEntropy and Voyage, and Cohere's body on /embed."""

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.errors import refused
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

QUERY = corpus.ENGLISH[0]
PASSAGES = [{"text": text} for text in TEXTS]


@pytest.mark.parametrize("name", ["bge-m3", DEFAULT_EMBEDDER, "BAAI%2Fbge-m3"])
def test_azure_names_the_model_in_the_path(api: httpx.Client, name: str) -> None:
    path = f"/openai/deployments/{name}/embeddings?api-version=2024-10-21"
    expected = embed(api, TEXTS) | {"model": name.replace("%2F", "/")}
    assert without_id(api.post(path, json={"input": TEXTS})) == expected
    assert without_id(api.post(path, json={"input": TEXTS, "model": "another"})) == expected


def test_azure_errors_are_openais(api: httpx.Client) -> None:
    body = {"input": "a"}
    refused(api.post("/openai/deployments/absent/embeddings", json=body), 404, "model_not_found", "model")
    refused(api.post("/openai/deployments//embeddings", json=body), 404, "route_not_found")
    refused(api.post("/openai/deployments/bge-m3/embeddings", json={}), 400, "invalid_value", "input")


def test_azures_new_path_and_groqs(api: httpx.Client) -> None:
    body = {"input": TEXTS, "model": "bge-m3"}
    assert without_id(api.post("/openai/v1/embeddings", json=body)) == embed(api, TEXTS, model="bge-m3")


@pytest.mark.parametrize("path", ["/v1/ranking", "/v1/retrieval/bge-reranker-v2-m3/reranking"])
@pytest.mark.parametrize("passages", [PASSAGES, TEXTS], ids=["objects", "strings"])
def test_nim(api: httpx.Client, reranker: ReferenceReranker, path: str, passages: list[Any]) -> None:
    request = {"model": DEFAULT_RERANKER, "query": {"text": QUERY}, "passages": passages}
    body = ok(api.post(path, json=request))
    assert set(body) == {"rankings", "usage"}
    logits = reranker.predict(QUERY, TEXTS, raw=True)
    found = {each["index"]: each["logit"] for each in body["rankings"]}
    assert_allclose([found[index] for index in range(len(TEXTS))], logits, atol=scaled(logits, ATOL))
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert ok(api.post(path, json=request | {"top_k": 2}))["rankings"] == body["rankings"][:2]


def test_nims_path_names_the_model(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    """litellm writes dots for underscores into the body."""
    body = {"model": "multilingual.e5.base", "query": {"text": QUERY}, "passages": PASSAGES}
    found = ok(api.post(f"/v1/retrieval/{E5}/reranking", json=body))["rankings"]
    cosines = e5.encode(TEXTS, prompt="passage: ") @ e5.encode([QUERY], prompt="query: ")[0]
    assert_allclose([each["logit"] for each in found], np.sort(cosines)[::-1], atol=ATOL)


def test_nim_truncates_or_rejects(api: httpx.Client, checkpoint: Checkpoint) -> None:
    checkpoint(E5)
    body = {"model": E5, "query": {"text": QUERY}, "passages": [{"text": LONG}]}
    assert ok(api.post("/v1/ranking", json=body))["warnings"][0].startswith("passages.0 was cut from ")
    refused(api.post("/v1/ranking", json=body | {"truncate": "NONE"}), 400, "input_too_long", "passages.0")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"passages": []}, "passages"),
        ({"passages": [{"text": "a"}, {"image": "data:"}]}, "passages.1"),
        ({"passages": [{"text": "a"}, {"text": "b", "image": "data:"}]}, "passages.1"),
        ({"query": {}}, "query"),
        ({"top_k": "2"}, "top_k"),
    ],
)
def test_nims_wrong_fields_are_named(api: httpx.Client, fields: dict[str, Any], param: str) -> None:
    body = {"query": {"text": "q"}, "passages": PASSAGES} | fields
    refused(api.post("/v1/ranking", json=body), 400, "invalid_value", param)


def test_mixedbread(api: httpx.Client, reranker: ReferenceReranker) -> None:
    request = {"model": DEFAULT_RERANKER, "query": QUERY, "input": TEXTS, "top_k": 3, "return_input": True}
    body = ok(api.post("/v1/reranking", json=request))
    assert (body["object"], body["model"], body["top_k"], body["return_input"]) == ("list", DEFAULT_RERANKER, 3, True)
    assert body["usage"] == {key: rerank(api, QUERY, TEXTS)["usage"][key] for key in ("prompt_tokens", "total_tokens")}
    expected = reranker.predict(QUERY, TEXTS)
    for each, score in zip(body["data"], sorted(expected, reverse=True)[:3], strict=True):
        assert set(each) == {"index", "score", "input", "object"}
        assert (each["object"], each["input"]) == ("rank_result", TEXTS[each["index"]])
        assert_allclose(each["score"], score, atol=ATOL)
    silent = ok(api.post("/v1/reranking", json={"query": QUERY, "input": TEXTS}))
    assert len(silent["data"]) == len(TEXTS)
    assert all(set(each) == {"index", "score", "object"} for each in silent["data"])


def test_mixedbreads_objects(api: httpx.Client, reranker: ReferenceReranker) -> None:
    inputs = [{"title": text, "n": number} for number, text in enumerate(TEXTS)]
    request = {"query": QUERY, "input": inputs, "rank_fields": ["title"], "return_input": True}
    body = ok(api.post("/v1/reranking", json=request))
    found = {each["index"]: each["score"] for each in body["data"]}
    assert_allclose([found[index] for index in range(len(TEXTS))], reranker.predict(QUERY, TEXTS), atol=ATOL)
    assert all(each["input"] == inputs[each["index"]] for each in body["data"])
    without = {"query": QUERY, "input": inputs}
    refused(api.post("/v1/reranking", json=without), 400, "invalid_value", "input.0")
    large = b'{"query": "q", "input": [{"text": "a", "n": 1e400}], "return_input": true}'
    refused(api.post("/v1/reranking", content=large), 400, "invalid_value", "input.0")


@pytest.mark.parametrize("path", ["/v1/reranking", "/v1/models/rerank"])
def test_documents_get_the_v1_format(api: httpx.Client, path: str) -> None:
    body = ok(api.post(path, json={"query": QUERY, "documents": TEXTS, "top_n": 2}))
    assert body["results"] == rerank(api, QUERY, TEXTS, top_n=2)["results"]


@pytest.mark.parametrize("types", [None, ["float"], ["float", "int8"]])
def test_embed_reads_coheres_body(api: httpx.Client, types: list[str] | None) -> None:
    """Continue and Vercel's @ai-sdk/cohere send it to /embed below a root URL."""
    request = {"texts": TEXTS, "input_type": "search_document", "truncate": "END", "embedding_types": types}
    found, original = (ok(api.post(path, json=request))["embeddings"] for path in ("/embed", "/v1/embed"))
    assert found == original


def test_voyages_contextualized_embeddings_of_single_texts(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    request = {"model": E5, "inputs": [[text] for text in TEXTS], "input_type": "query"}
    body = ok(api.post("/v1/contextualizedembeddings", json=request))
    vectors = [entry["data"][0]["embedding"] for entry in body["data"]]
    assert_allclose(np.asarray(vectors), e5.encode(TEXTS, prompt="query: "), atol=ATOL)
    assert [entry["index"] for entry in body["data"]] == list(range(len(TEXTS)))
    coded = ok(api.post("/v1/contextualizedembeddings", json=request | {"encoding_format": "base64"}))
    assert isinstance(coded["data"][0]["data"][0]["embedding"], str)
    message = refused(
        api.post("/v1/contextualizedembeddings", json=request | {"inputs": [["a"], ["b", "c"]]}),
        400,
        "invalid_value",
        "inputs.1",
    )
    assert message.startswith("inputs.1 has 2 chunks")


@pytest.mark.parametrize("name", ["tei", "TEI"])
def test_tei_names_the_default_models(api: httpx.Client, name: str) -> None:
    """mem0 sends it."""
    assert embed(api, TEXTS, model=name) == embed(api, TEXTS) | {"model": name}
    assert rerank(api, QUERY, TEXTS, model=name)["results"] == rerank(api, QUERY, TEXTS)["results"]
