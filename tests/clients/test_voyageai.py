"""voyageai: embed (base64 by default) and rerank."""

import asyncio

import numpy as np
import pytest
import voyageai

from tests.clients.reference import (
    Reference,
    assert_same_bits,
    assert_same_int8,
    assert_same_ranking,
    assert_same_vectors,
)
from tests.clients.samples import API_KEY, DOCUMENTS, MODEL, QUERY, TEXTS, TOO_LONG


@pytest.fixture
def client(url: str) -> voyageai.Client:
    """A client with another base URL."""
    return voyageai.Client("unused", base_url=f"{url}/v1")


@pytest.mark.parametrize("side", [None, "query", "document"])
def test_embed(client: voyageai.Client, reference: Reference, side: str | None) -> None:
    answer = client.embed(TEXTS, model=MODEL, input_type=side)
    assert_same_vectors(answer.embeddings, reference.vectors(TEXTS))
    assert answer.total_tokens == reference.tokens(TEXTS)


def test_output_types(client: voyageai.Client, reference: Reference) -> None:
    vectors = reference.vectors(TEXTS)
    assert_same_int8(client.embed(TEXTS, model=MODEL, output_dtype="int8").embeddings, vectors)
    assert_same_int8(np.asarray(client.embed(TEXTS, model=MODEL, output_dtype="uint8").embeddings) - 128, vectors)
    assert_same_bits(client.embed(TEXTS, model=MODEL, output_dtype="ubinary").embeddings, vectors)
    signed = np.asarray(client.embed(TEXTS, model=MODEL, output_dtype="binary").embeddings)
    assert_same_bits(signed + 128, vectors)


def test_output_dimension(client: voyageai.Client, reference: Reference) -> None:
    vectors = reference.vectors(TEXTS, dimensions=64)
    assert_same_vectors(client.embed(TEXTS, model=MODEL, output_dimension=64).embeddings, vectors)
    answer = client.embed(TEXTS, model=MODEL, output_dimension=64, output_dtype="int8")
    assert_same_int8(answer.embeddings, vectors)


def test_rerank(client: voyageai.Client, reference: Reference) -> None:
    expected = reference.ranking(QUERY, DOCUMENTS)
    for top_k in (None, 2):
        answer = client.rerank(QUERY, DOCUMENTS, model=MODEL, top_k=top_k)
        assert_same_ranking([(each.index, each.relevance_score) for each in answer.results], expected[:top_k])
        assert answer.total_tokens > 0


def test_async(url: str, reference: Reference) -> None:
    async def ask() -> None:
        client = voyageai.AsyncClient("unused", base_url=f"{url}/v1")
        assert_same_vectors((await client.embed(TEXTS, model=MODEL)).embeddings, reference.vectors(TEXTS))
        ranked = await client.rerank(QUERY, DOCUMENTS, model=MODEL)
        ours = [(each.index, each.relevance_score) for each in ranked.results]
        assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS))

    asyncio.run(ask())


def test_truncation(client: voyageai.Client, reference: Reference) -> None:
    assert_same_vectors(client.embed([TOO_LONG], model=MODEL).embeddings, reference.vectors([TOO_LONG]))
    with pytest.raises(voyageai.error.InvalidRequestError, match="the model takes 256"):
        client.embed([TOO_LONG], model=MODEL, truncation=False)
    (result,) = client.rerank(QUERY, [TOO_LONG], model=MODEL).results
    assert_same_vectors([result.relevance_score], reference.scores(QUERY, [TOO_LONG]))
    with pytest.raises(voyageai.error.InvalidRequestError, match="takes 256"):
        client.rerank(QUERY, [TOO_LONG], model=MODEL, truncation=False)


def test_unknown_model(client: voyageai.Client) -> None:
    # this client has no class for 404
    with pytest.raises(voyageai.error.APIError, match="no model of that name") as caught:
        client.embed(TEXTS, model="no-such-model")
    assert caught.value.http_status == 404


def test_bad_input(client: voyageai.Client) -> None:
    with pytest.raises(voyageai.error.InvalidRequestError, match=r"^input\.1:"):
        client.embed(["a", ""], model=MODEL)
    with pytest.raises(voyageai.error.InvalidRequestError, match=r"^documents:"):
        client.rerank(QUERY, [], model=MODEL)


def test_api_key(guarded_url: str, reference: Reference) -> None:
    with pytest.raises(voyageai.error.AuthenticationError, match="API key"):
        voyageai.Client("wrong", base_url=f"{guarded_url}/v1").embed(["a"], model=MODEL)
    answer = voyageai.Client(API_KEY, base_url=f"{guarded_url}/v1").embed(["a"], model=MODEL)
    assert_same_vectors(answer.embeddings, reference.vectors(["a"]))


def test_overload(crowded_url: str, naps: list[float]) -> None:
    client = voyageai.Client(API_KEY, base_url=f"{crowded_url}/v1", max_retries=2)  # the number of attempts
    with pytest.raises(voyageai.error.RateLimitError, match="MAX_QUEUED_TOKENS") as caught:
        client.embed(TEXTS, model=MODEL)
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert len(naps) == 1
