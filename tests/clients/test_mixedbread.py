"""mixedbread: embed and rerank."""

import asyncio

import mixedbread
import pytest

from tests.clients.reference import Reference, assert_same_ranking, assert_same_vectors
from tests.clients.samples import API_KEY, DOCUMENTS, MODEL, QUERY, TEXTS


@pytest.fixture
def client(url: str) -> mixedbread.Mixedbread:
    """A client with another base URL."""
    return mixedbread.Mixedbread(api_key="unused", base_url=url, max_retries=0)


def test_embed(client: mixedbread.Mixedbread, reference: Reference) -> None:
    answer = client.embed(model=MODEL, input=TEXTS, normalized=True, encoding_format="float")
    assert answer.usage.prompt_tokens == reference.tokens(TEXTS)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))
    answer = client.embed(model=MODEL, input=TEXTS, dimensions=64)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS, dimensions=64))


@pytest.mark.parametrize("returned", [False, True])
def test_rerank(client: mixedbread.Mixedbread, reference: Reference, returned: bool) -> None:
    answer = client.rerank(model=MODEL, query=QUERY, input=DOCUMENTS, top_k=2, return_input=returned)
    ours = [(each.index, each.score) for each in answer.data]
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:2])
    assert [each.input for each in answer.data] == [DOCUMENTS[index] if returned else None for index, _ in ours]
    assert (answer.model, answer.top_k, answer.return_input) == (MODEL, 2, returned)


def test_objects(client: mixedbread.Mixedbread, reference: Reference) -> None:
    objects = [{"title": text, "n": 1} for text in DOCUMENTS]
    answer = client.rerank(model=MODEL, query=QUERY, input=objects, rank_fields=["title"], return_input=True)
    assert_same_ranking([(each.index, each.score) for each in answer.data], reference.ranking(QUERY, DOCUMENTS))
    assert all(each.input == objects[each.index] for each in answer.data)


def test_async(url: str, reference: Reference) -> None:
    async def ask() -> None:
        async with mixedbread.AsyncMixedbread(api_key="unused", base_url=url) as client:
            answer = await client.rerank(model=MODEL, query=QUERY, input=DOCUMENTS)
        assert_same_ranking([(each.index, each.score) for each in answer.data], reference.ranking(QUERY, DOCUMENTS))

    asyncio.run(ask())


def test_errors(client: mixedbread.Mixedbread, guarded_url: str, reference: Reference) -> None:
    with pytest.raises(mixedbread.NotFoundError, match="no model of that name"):
        client.rerank(model="no-such-model", query=QUERY, input=DOCUMENTS)
    with pytest.raises(mixedbread.BadRequestError, match="rewrite_query"):
        client.rerank(model=MODEL, query=QUERY, input=DOCUMENTS, rewrite_query=True)
    with pytest.raises(mixedbread.BadRequestError, match="prompt"):
        client.embed(model=MODEL, input=TEXTS, prompt="Represent this: ")
    with pytest.raises(mixedbread.AuthenticationError, match="API key"):
        mixedbread.Mixedbread(api_key="wrong", base_url=guarded_url).embed(model=MODEL, input="a")
    answer = mixedbread.Mixedbread(api_key=API_KEY, base_url=guarded_url).embed(model=MODEL, input="a")
    assert_same_vectors([answer.data[0].embedding], reference.vectors(["a"]))
