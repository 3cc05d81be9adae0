"""mistralai: embeddings."""

import asyncio

import pytest
from mistralai.client import Mistral, errors

from tests.clients.reference import Reference, assert_same_int8, assert_same_vectors
from tests.clients.samples import API_KEY, MODEL, TEXTS


@pytest.fixture
def client(url: str) -> Mistral:
    """A client with another URL."""
    return Mistral(api_key="unused", server_url=url)


def test_embeddings(client: Mistral, reference: Reference) -> None:
    answer = client.embeddings.create(model=MODEL, inputs=TEXTS)
    assert answer.id
    assert answer.usage.prompt_tokens == reference.tokens(TEXTS)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))


def test_dimensions_and_types(client: Mistral, reference: Reference) -> None:
    vectors = reference.vectors(TEXTS, dimensions=64)
    answer = client.embeddings.create(model=MODEL, inputs=TEXTS, output_dimension=64)
    assert_same_vectors([entry.embedding for entry in answer.data], vectors)
    answer = client.embeddings.create(model=MODEL, inputs=TEXTS, output_dimension=64, output_dtype="int8")
    assert_same_int8([[int(number) for number in entry.embedding or []] for entry in answer.data], vectors)


def test_async(client: Mistral, reference: Reference) -> None:
    answer = asyncio.run(client.embeddings.create_async(model=MODEL, inputs=TEXTS))
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))


def test_errors(client: Mistral, guarded_url: str, reference: Reference) -> None:
    with pytest.raises(errors.SDKError, match="no model of that name") as caught:
        client.embeddings.create(model="no-such-model", inputs="a")
    assert caught.value.status_code == 404
    with pytest.raises(errors.SDKError, match="API key"):
        Mistral(api_key="wrong", server_url=guarded_url).embeddings.create(model=MODEL, inputs="a")
    answer = Mistral(api_key=API_KEY, server_url=guarded_url).embeddings.create(model=MODEL, inputs="a")
    assert_same_vectors([answer.data[0].embedding], reference.vectors(["a"]))
