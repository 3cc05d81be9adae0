"""ollama: embed, the older embeddings, and the list of models."""

import asyncio

import ollama
import pytest

from tests.clients.reference import Reference, assert_same_vectors
from tests.clients.samples import API_KEY, DIMENSIONS, JAPANESE, MODEL, TEXTS, TOO_LONG

LATEST = f"{MODEL}:latest"


@pytest.fixture
def client(url: str) -> ollama.Client:
    """A client with another host."""
    return ollama.Client(host=url)


@pytest.mark.parametrize("model", [MODEL, LATEST])
def test_embed(client: ollama.Client, reference: Reference, model: str) -> None:
    answer = client.embed(model=model, input=TEXTS, keep_alive="5m", options={"temperature": 0.0, "num_ctx": 512})
    assert answer.model == model
    assert answer.prompt_eval_count == reference.tokens(TEXTS)
    assert_same_vectors(answer.embeddings, reference.vectors(TEXTS))
    assert_same_vectors(client.embed(model=model, input=JAPANESE).embeddings, reference.vectors([JAPANESE]))
    assert_same_vectors([client.embeddings(model=model, prompt=JAPANESE).embedding], reference.vectors([JAPANESE]))


def test_dimensions(client: ollama.Client, reference: Reference) -> None:
    answer = client.embed(model=MODEL, input=TEXTS, dimensions=64)
    assert_same_vectors(answer.embeddings, reference.vectors(TEXTS, dimensions=64))


def test_async(url: str, reference: Reference) -> None:
    async def ask() -> None:
        answer = await ollama.AsyncClient(host=url).embed(model=MODEL, input=TEXTS)
        assert_same_vectors(answer.embeddings, reference.vectors(TEXTS))

    asyncio.run(ask())


def test_truncation(client: ollama.Client, reference: Reference) -> None:
    assert_same_vectors(client.embed(model=MODEL, input=TOO_LONG).embeddings, reference.vectors([TOO_LONG]))
    with pytest.raises(ollama.ResponseError, match="the model takes 256") as caught:
        client.embed(model=MODEL, input=TOO_LONG, truncate=False)
    assert caught.value.status_code == 400


def test_models(client: ollama.Client) -> None:
    client.embed(model=MODEL, input="loads the model")
    for listed in (client.list(), client.ps()):
        assert LATEST in [model.model for model in listed.models]
    facts = client.show(LATEST)
    assert facts.capabilities == ["embedding"]
    assert facts.modelinfo is not None
    assert facts.modelinfo["transformer.embedding_length"] == DIMENSIONS


def test_errors(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="no model of that name") as caught:
        client.embed(model="no-such-model", input="a")
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match=r"^input\.1:"):
        client.embed(model=MODEL, input=["a", ""])
    with pytest.raises(ollama.ResponseError, match="no such route") as caught:
        client.generate(model=MODEL, prompt="a")
    assert caught.value.status_code == 404


def test_api_key(guarded_url: str, reference: Reference) -> None:
    with pytest.raises(ollama.ResponseError, match="API key") as caught:
        ollama.Client(host=guarded_url).embed(model=MODEL, input="a")
    assert caught.value.status_code == 401
    client = ollama.Client(host=guarded_url, headers={"Authorization": f"Bearer {API_KEY}"})
    assert_same_vectors(client.embed(model=MODEL, input="a").embeddings, reference.vectors(["a"]))


def test_overload(crowded_url: str) -> None:
    client = ollama.Client(host=crowded_url, headers={"Authorization": f"Bearer {API_KEY}"})
    with pytest.raises(ollama.ResponseError, match="MAX_QUEUED_TOKENS") as caught:
        client.embed(model=MODEL, input=TEXTS)
    assert caught.value.status_code == 429
