"""llama-index with the routes of OpenAI, Azure, Ollama, Cohere, Jina, NIM and text-embeddings-inference."""

import asyncio
import importlib
from typing import Any

import cohere
import openai
import pytest

from tests.clients.reference import Reference, assert_same_ranking, assert_same_vectors
from tests.clients.samples import API_KEY, DOCUMENTS, JAPANESE, MODEL, QUERY, TEXTS

pytest.importorskip("llama_index.core", reason="only in the environment of all clients, not in the quick one")


def embedder(module: str, name: str, **options: Any) -> Any:
    """An embedding object of a llama-index package."""
    return getattr(importlib.import_module(f"llama_index.embeddings.{module}"), name)(**options)


def reranker(module: str, name: str, **options: Any) -> Any:
    """A rerank object of a llama-index package."""
    return getattr(importlib.import_module(f"llama_index.postprocessor.{module}"), name)(**options)


def openai_embedding(url: str, **options: Any) -> Any:
    """`model_name` allows names that OpenAI does not have."""
    options = {"model_name": MODEL, "api_base": f"{url}/v1", "api_key": "unused", "max_retries": 1} | options
    return embedder("openai", "OpenAIEmbedding", **options)


def rank(reranker: Any) -> list[tuple[int, float]]:
    """DOCUMENTS as (index, score), in the order of the result."""
    schema = importlib.import_module("llama_index.core.schema")
    nodes = [
        schema.NodeWithScore(node=schema.TextNode(text=text, id_=str(index)), score=0.0)
        for index, text in enumerate(DOCUMENTS)
    ]
    return [(int(each.node.node_id), each.score) for each in reranker.postprocess_nodes(nodes, query_str=QUERY)]


def test_openai_embedding(url: str, reference: Reference) -> None:
    embedding = openai_embedding(url)
    assert_same_vectors(embedding.get_text_embedding_batch(TEXTS), reference.vectors(TEXTS))
    assert_same_vectors([embedding.get_text_embedding(JAPANESE)], reference.vectors([JAPANESE]))
    assert_same_vectors([embedding.get_query_embedding(QUERY)], reference.vectors([QUERY]))
    vectors = asyncio.run(openai_embedding(url, dimensions=64).aget_text_embedding_batch(TEXTS))
    assert_same_vectors(vectors, reference.vectors(TEXTS, dimensions=64))


def test_openai_embedding_errors(url: str, guarded_url: str) -> None:
    with pytest.raises(openai.NotFoundError, match="no model of that name"):
        openai_embedding(url, model_name="no-such-model").get_text_embedding("a")
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        openai_embedding(url, dimensions=5000).get_text_embedding("a")
    with pytest.raises(openai.AuthenticationError, match="API key"):
        openai_embedding(guarded_url).get_text_embedding("a")


def test_openai_embedding_overload(crowded_url: str, naps: list[float]) -> None:
    with pytest.raises(openai.RateLimitError, match="MAX_QUEUED_TOKENS"):
        openai_embedding(crowded_url, api_key=API_KEY).get_text_embedding_batch(TEXTS)
    assert naps


def test_text_embeddings_inference(url: str, reference: Reference) -> None:
    embedding = embedder("text_embeddings_inference", "TextEmbeddingsInference", model_name=MODEL, base_url=url)
    assert_same_vectors(embedding.get_text_embedding_batch(TEXTS), reference.vectors(TEXTS))
    assert_same_vectors([embedding.get_query_embedding(JAPANESE)], reference.vectors([JAPANESE]))
    assert_same_vectors(asyncio.run(embedding.aget_text_embedding_batch(TEXTS)), reference.vectors(TEXTS))


def test_text_embeddings_inference_with_a_key(guarded_url: str, reference: Reference) -> None:
    """This class ignores the status; an error response raises KeyError."""
    options = {"model_name": MODEL, "base_url": guarded_url, "auth_token": API_KEY}
    embedding = embedder("text_embeddings_inference", "TextEmbeddingsInference", **options)
    assert_same_vectors([embedding.get_text_embedding("a")], reference.vectors(["a"]))


@pytest.mark.parametrize("top_n", [2, 10])
def test_cohere_rerank(url: str, reference: Reference, top_n: int) -> None:
    ours = rank(reranker("cohere_rerank", "CohereRerank", model=MODEL, base_url=url, api_key="unused", top_n=top_n))
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:top_n])


@pytest.mark.parametrize("top_n", [2, 10])
def test_jina_rerank(url: str, reference: Reference, top_n: int) -> None:
    options = {"model": MODEL, "base_url": f"{url}/v1", "api_key": "unused", "top_n": top_n}
    ours = rank(reranker("jinaai_rerank", "JinaRerank", **options))
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:top_n])


@pytest.mark.parametrize("top_n", [2, 10])
def test_tei_rerank(url: str, reference: Reference, top_n: int) -> None:
    ours = rank(reranker("tei_rerank", "TextEmbeddingInference", base_url=url, top_n=top_n))
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:top_n])


def test_rerank_errors(url: str, guarded_url: str) -> None:
    with pytest.raises(cohere.NotFoundError, match="no model of that name"):
        rank(reranker("cohere_rerank", "CohereRerank", model="no-such-model", base_url=url, api_key="x"))
    with pytest.raises(cohere.UnauthorizedError, match="API key"):
        rank(reranker("cohere_rerank", "CohereRerank", model=MODEL, base_url=guarded_url, api_key="x"))
    with pytest.raises(RuntimeError, match="no model of that name"):
        rank(reranker("jinaai_rerank", "JinaRerank", model="no-such-model", base_url=f"{url}/v1", api_key="x"))
    with pytest.raises(RuntimeError, match="API key"):
        rank(reranker("jinaai_rerank", "JinaRerank", model=MODEL, base_url=f"{guarded_url}/v1", api_key="x"))


def test_jina_rerank_overload(crowded_url: str) -> None:
    options = {"model": MODEL, "base_url": f"{crowded_url}/v1", "api_key": API_KEY}
    with pytest.raises(RuntimeError, match="MAX_QUEUED_TOKENS"):
        rank(reranker("jinaai_rerank", "JinaRerank", **options))


def test_ollama_embedding(url: str, reference: Reference) -> None:
    embedding = embedder("ollama", "OllamaEmbedding", model_name=MODEL, base_url=url)
    assert_same_vectors(embedding.get_text_embedding_batch(TEXTS), reference.vectors(TEXTS))
    assert_same_vectors([embedding.get_query_embedding(JAPANESE)], reference.vectors([JAPANESE]))
    assert_same_vectors(asyncio.run(embedding.aget_text_embedding_batch(TEXTS)), reference.vectors(TEXTS))


def test_azure_openai_embedding(guarded_url: str, reference: Reference) -> None:
    options = {
        "azure_endpoint": guarded_url,
        "azure_deployment": MODEL,
        "api_version": "2024-10-21",
        "api_key": API_KEY,
    }
    embedding = embedder("azure_openai", "AzureOpenAIEmbedding", **options)
    assert_same_vectors([embedding.get_text_embedding("a")], reference.vectors(["a"]))


@pytest.mark.parametrize("top_n", [2, 10])
def test_nvidia_rerank(url: str, reference: Reference, top_n: int) -> None:
    found = rank(reranker("nvidia_rerank", "NVIDIARerank", model=MODEL, base_url=f"{url}/v1", top_n=top_n))
    ours = [(index, (1 + cosine) / 2) for index, cosine in found]
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:top_n])
