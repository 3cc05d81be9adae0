"""litellm: the same calls with several providers."""

import asyncio
from typing import Any

import pytest

from tests.clients.reference import Reference, assert_same_ranking, assert_same_vectors
from tests.clients.samples import API_KEY, DOCUMENTS, JAPANESE, MODEL, QUERY, TEXTS, TOO_LONG

litellm = pytest.importorskip("litellm", reason="only in the environment of all clients, not in the quick one")

EMBEDDING_PROVIDERS = [
    ("openai", "/v1"),
    ("hosted_vllm", "/v1"),
    ("lm_studio", "/v1"),
    ("cohere", "/v2/embed"),
    ("jina_ai", "/v1"),
    ("voyage", "/v1"),
    ("infinity", ""),
    ("ollama", ""),
]
RERANK_PROVIDERS = [
    ("cohere", ""),
    ("cohere", "/v2/rerank"),
    ("jina_ai", "/v1/rerank"),
    ("infinity", ""),
]
"""Provider, and the path after the server's URL in `api_base`."""


def embed(provider: str, api_base: str, texts: list[str] = TEXTS, **options: Any) -> Any:
    """litellm.embedding without retries."""
    options = {"model": f"{provider}/{MODEL}", "api_key": "unused"} | options
    return litellm.embedding(api_base=api_base, input=texts, max_retries=0, **options)


def rank(provider: str, api_base: str, **options: Any) -> list[tuple[int, float]]:
    """litellm.rerank of DOCUMENTS as (index, score)."""
    options = {"model": f"{provider}/{MODEL}", "api_key": "unused"} | options
    answer = litellm.rerank(api_base=api_base, query=QUERY, documents=DOCUMENTS, **options)
    return [(each["index"], each["relevance_score"]) for each in answer.results]


@pytest.mark.parametrize(("provider", "path"), EMBEDDING_PROVIDERS)
def test_embedding(url: str, reference: Reference, provider: str, path: str) -> None:
    answer = embed(provider, url + path)
    assert_same_vectors([entry["embedding"] for entry in answer.data], reference.vectors(TEXTS))
    assert answer.usage.total_tokens == reference.tokens(TEXTS)


def test_embedding_with_dimensions(url: str, reference: Reference) -> None:
    answer = embed("openai", f"{url}/v1", dimensions=64, allowed_openai_params=["dimensions"])
    assert_same_vectors([entry["embedding"] for entry in answer.data], reference.vectors(TEXTS, dimensions=64))


def test_async_embedding(url: str, reference: Reference) -> None:
    call = litellm.aembedding(model=f"openai/{MODEL}", api_base=f"{url}/v1", api_key="unused", input=[JAPANESE])
    assert_same_vectors([asyncio.run(call).data[0]["embedding"]], reference.vectors([JAPANESE]))


@pytest.mark.parametrize(("provider", "path"), RERANK_PROVIDERS)
@pytest.mark.parametrize("top_n", [None, 2])
def test_rerank(url: str, reference: Reference, provider: str, path: str, top_n: int | None) -> None:
    ours = rank(provider, url + path, top_n=top_n)
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:top_n])


def test_rerank_with_voyage(url: str, reference: Reference) -> None:
    assert_same_ranking(rank("voyage", f"{url}/v1", top_n=2), reference.ranking(QUERY, DOCUMENTS)[:2])


def test_rerank_with_voyage_without_top_k(url: str, reference: Reference) -> None:
    assert_same_ranking(rank("voyage", f"{url}/v1"), reference.ranking(QUERY, DOCUMENTS))


@pytest.mark.parametrize(("provider", "path"), [("hosted_vllm", "/v1"), ("cohere", "/v1/rerank")])
def test_rerank_with_documents_as_objects(url: str, reference: Reference, provider: str, path: str) -> None:
    assert_same_ranking(rank(provider, url + path), reference.ranking(QUERY, DOCUMENTS))


@pytest.mark.parametrize(("model", "path"), [(MODEL, ""), (f"ranking/{MODEL}", "/v1")])
def test_rerank_as_nim(url: str, reference: Reference, model: str, path: str) -> None:
    ours = [(index, (1 + cosine) / 2) for index, cosine in rank("nvidia_nim", url + path, model=f"nvidia_nim/{model}")]
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS))


def test_rerank_with_vllm_below_the_root(url: str, reference: Reference) -> None:
    """litellm's infinity sends the same request there and expects documents as strings: send none, or use /v1."""
    ours = rank("hosted_vllm", url, return_documents=False)
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS))


def test_azure_embedding(guarded_url: str, reference: Reference) -> None:
    answer = embed("azure", guarded_url, ["a"], api_key=API_KEY, api_version="2024-10-21")
    assert_same_vectors([entry["embedding"] for entry in answer.data], reference.vectors(["a"]))


def test_rerank_as_text_embeddings_inference(url: str, reference: Reference) -> None:
    assert_same_ranking(rank("huggingface", url), reference.ranking(QUERY, DOCUMENTS))


def test_rerank_returns_documents(url: str) -> None:
    answer = litellm.rerank(
        model=f"jina_ai/{MODEL}",
        api_base=f"{url}/v1/rerank",
        api_key="unused",
        query=QUERY,
        documents=DOCUMENTS,
        return_documents=True,
    )
    assert [each["document"]["text"] for each in answer.results] == [
        DOCUMENTS[each["index"]] for each in answer.results
    ]


@pytest.mark.parametrize(("provider", "path"), EMBEDDING_PROVIDERS)
def test_unknown_model(url: str, provider: str, path: str) -> None:
    with pytest.raises(litellm.NotFoundError, match="no model of that name"):
        embed(provider, url + path, model=f"{provider}/no-such-model")


@pytest.mark.parametrize(("provider", "path"), EMBEDDING_PROVIDERS)
def test_bad_input(url: str, provider: str, path: str) -> None:
    with pytest.raises(litellm.BadRequestError, match="at least 1 character"):
        embed(provider, url + path, ["a", ""])


def test_truncation_is_rejected(url: str) -> None:
    with pytest.raises(litellm.BadRequestError, match="the model takes 256"):
        embed("openai", f"{url}/v1", [TOO_LONG], extra_body={"truncate": False})


@pytest.mark.parametrize(("provider", "path"), EMBEDDING_PROVIDERS)
def test_api_key(guarded_url: str, provider: str, path: str) -> None:
    with pytest.raises(litellm.AuthenticationError, match="API key"):
        embed(provider, guarded_url + path)


@pytest.mark.parametrize(("provider", "path"), RERANK_PROVIDERS)
def test_rerank_errors(url: str, guarded_url: str, provider: str, path: str) -> None:
    with pytest.raises(litellm.NotFoundError, match="no model of that name"):
        rank(provider, url + path, model=f"{provider}/no-such-model")
    with pytest.raises(litellm.AuthenticationError, match="API key"):
        rank(provider, guarded_url + path)


@pytest.mark.parametrize(("provider", "path"), [("openai", "/v1"), ("jina_ai", "/v1"), ("cohere", "/v2/embed")])
def test_overload(crowded_url: str, naps: list[float], provider: str, path: str) -> None:
    with pytest.raises(litellm.RateLimitError, match="MAX_QUEUED_TOKENS"):
        embed(provider, crowded_url + path, api_key=API_KEY)
