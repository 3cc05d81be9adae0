"""cohere: Client with API v1, ClientV2 with API v2."""

import asyncio
import base64

import cohere
import numpy as np
import pytest
from cohere.core.request_options import RequestOptions

from tests.clients.reference import (
    Reference,
    assert_same_bits,
    assert_same_int8,
    assert_same_ranking,
    assert_same_vectors,
)
from tests.clients.samples import API_KEY, DOCUMENTS, MODEL, QUERY, TEXTS, TOO_LONG

BOTH = pytest.mark.parametrize("make", [cohere.Client, cohere.ClientV2], ids=["v1", "v2"])
Make = type[cohere.Client]
SIDE = "search_document"


@pytest.fixture
def client(url: str) -> cohere.Client:
    """Version 1."""
    return cohere.Client("unused", base_url=url)


@pytest.fixture
def client_v2(url: str) -> cohere.ClientV2:
    """Version 2."""
    return cohere.ClientV2("unused", base_url=url)


def message(error: BaseException) -> str:
    """The service's error message."""
    text: str = error.body["message"]  # type: ignore[attr-defined]  # ApiError has it
    return text


def test_embed_v1(client: cohere.Client, reference: Reference) -> None:
    answer = client.embed(model=MODEL, texts=TEXTS, input_type=SIDE)
    assert answer.texts == TEXTS
    assert_same_vectors(answer.embeddings, reference.vectors(TEXTS))


def test_embed_v1_in_batches(client: cohere.Client, reference: Reference) -> None:
    texts = [f"Text number {number}." for number in range(100)]  # the client sends at most 96 per request
    answer = client.embed(model=MODEL, texts=texts, input_type=SIDE)
    assert_same_vectors(answer.embeddings, reference.vectors(texts))


@BOTH
def test_embedding_types(url: str, make: Make, reference: Reference) -> None:
    types = ["float", "int8", "ubinary", "base64"]
    answer = make("unused", base_url=url).embed(model=MODEL, texts=TEXTS, input_type=SIDE, embedding_types=types)
    assert answer.response_type == "embeddings_by_type"
    vectors = reference.vectors(TEXTS)
    assert_same_vectors(answer.embeddings.float_, vectors)
    assert_same_int8(answer.embeddings.int8, vectors)
    assert_same_bits(answer.embeddings.ubinary, vectors)
    decoded = [np.frombuffer(base64.b64decode(each), "<f4") for each in answer.embeddings.base64]
    assert_same_vectors(decoded, vectors)
    assert answer.meta.billed_units.input_tokens == reference.tokens(TEXTS)


def test_embed_v2(client_v2: cohere.ClientV2, reference: Reference) -> None:
    answer = client_v2.embed(model=MODEL, texts=TEXTS, input_type="search_query", output_dimension=64)
    assert_same_vectors(answer.embeddings.float_, reference.vectors(TEXTS, dimensions=64))
    inputs = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
    answer = client_v2.embed(model=MODEL, inputs=inputs, input_type=SIDE, embedding_types=["float"])
    assert_same_vectors(answer.embeddings.float_, reference.vectors(TEXTS))


@BOTH
def test_rerank(url: str, make: Make, reference: Reference) -> None:
    client = make("unused", base_url=url)
    expected = reference.ranking(QUERY, DOCUMENTS)
    for top_n in (None, 2):
        answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=top_n)
        assert answer.id
        assert_same_ranking([(each.index, each.relevance_score) for each in answer.results], expected[:top_n])


def test_rerank_v1_returns_documents(client: cohere.Client, reference: Reference) -> None:
    answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, return_documents=True)
    assert [each.document.text for each in answer.results] == [DOCUMENTS[each.index] for each in answer.results]
    answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    assert {each.document for each in answer.results} == {None}


def test_rerank_v1_of_objects(client: cohere.Client, reference: Reference) -> None:
    objects = [{"text": text, "number": str(number)} for number, text in enumerate(DOCUMENTS)]
    answer = client.rerank(model=MODEL, query=QUERY, documents=objects, return_documents=True)
    expected = reference.ranking(QUERY, DOCUMENTS)
    assert_same_ranking([(each.index, each.relevance_score) for each in answer.results], expected)
    assert [(each.document.text, each.document.number) for each in answer.results] == [
        (DOCUMENTS[index], str(index)) for index, _ in expected
    ]


def test_rerank_v1_by_rank_fields(client: cohere.Client, reference: Reference) -> None:
    objects = [{"title": text, "body": "the same"} for text in DOCUMENTS]
    answer = client.rerank(model=MODEL, query=QUERY, documents=objects, rank_fields=["title"])
    ours = [(each.index, each.relevance_score) for each in answer.results]
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS))


def test_async(url: str, reference: Reference) -> None:
    async def ask() -> None:
        async with cohere.AsyncClientV2("unused", base_url=url) as client:
            embedded = await client.embed(model=MODEL, texts=TEXTS, input_type=SIDE, embedding_types=["float"])
            ranked = await client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
        async with cohere.AsyncClient("unused", base_url=url) as client_v1:
            embedded_v1 = await client_v1.embed(model=MODEL, texts=TEXTS, input_type=SIDE)
        assert_same_vectors(embedded.embeddings.float_, reference.vectors(TEXTS))
        assert_same_vectors(embedded_v1.embeddings, reference.vectors(TEXTS))
        ours = [(each.index, each.relevance_score) for each in ranked.results]
        assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS))

    asyncio.run(ask())


@BOTH
def test_unknown_model(url: str, make: Make) -> None:
    client = make("unused", base_url=url)
    with pytest.raises(cohere.NotFoundError) as caught:
        client.rerank(model="no-such-model", query=QUERY, documents=DOCUMENTS)
    assert "no model of that name" in message(caught.value)
    with pytest.raises(cohere.NotFoundError) as caught:
        client.embed(model="no-such-model", texts=TEXTS, input_type=SIDE, embedding_types=["float"])
    assert "no model of that name" in message(caught.value)


@BOTH
def test_bad_input(url: str, make: Make) -> None:
    client = make("unused", base_url=url)
    with pytest.raises(cohere.BadRequestError) as caught:
        client.rerank(model=MODEL, query=QUERY, documents=[])
    assert message(caught.value).startswith("documents:")
    with pytest.raises(cohere.BadRequestError) as caught:
        client.embed(model=MODEL, texts=["a", ""], input_type=SIDE, embedding_types=["float"])
    assert message(caught.value).startswith("texts.1:")


@BOTH
def test_truncation(url: str, make: Make, reference: Reference) -> None:
    client = make("unused", base_url=url)
    chosen = {"model": MODEL, "texts": [TOO_LONG], "input_type": SIDE, "embedding_types": ["float"]}
    answer = client.embed(**chosen, truncate="END")
    assert_same_vectors(answer.embeddings.float_, reference.vectors([TOO_LONG]))
    assert "256" in answer.meta.warnings[0]
    with pytest.raises(cohere.BadRequestError) as caught:
        client.embed(**chosen, truncate="NONE")
    assert "the model takes 256" in message(caught.value)


@BOTH
def test_api_key(guarded_url: str, make: Make, reference: Reference) -> None:
    with pytest.raises(cohere.UnauthorizedError) as caught:
        make("wrong", base_url=guarded_url).rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    assert "API key" in message(caught.value)
    answer = make(API_KEY, base_url=guarded_url).rerank(model=MODEL, query=QUERY, documents=DOCUMENTS[:1])
    assert_same_vectors([answer.results[0].relevance_score], reference.scores(QUERY, DOCUMENTS[:1]))


@BOTH
def test_overload(crowded_url: str, make: Make, naps: list[float]) -> None:
    client = make(API_KEY, base_url=crowded_url)
    with pytest.raises(cohere.TooManyRequestsError) as caught:
        client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, request_options=RequestOptions(max_retries=1))
    assert "MAX_QUEUED_TOKENS" in message(caught.value)
    assert len(naps) == 1
    assert naps[0] >= 1  # without the header it would be half a second


def test_rerank_v1_returns_api_version_as_an_object(client: cohere.Client) -> None:
    meta = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS).meta
    assert meta is not None
    assert meta.api_version is not None
    assert meta.api_version.version == "1"


def test_tokenize(client: cohere.Client) -> None:
    answer = client.tokenize(text="Machine learning", model=MODEL, offline=False)
    assert answer.tokens == [3698, 4083]  # from the vocabulary of bert-base-uncased
    assert answer.token_strings == ["Machine", "learning"]
