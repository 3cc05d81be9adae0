"""openai's AzureOpenAI: the model in the path, and the key in the header api-key."""

import asyncio

import openai
import pytest

from tests.clients.reference import Reference, assert_same_vectors
from tests.clients.samples import API_KEY, FULL_NAME, MODEL, TEXTS

VERSION = "2024-10-21"


def azure(url: str, **options: str) -> openai.AzureOpenAI:
    """A client with another endpoint."""
    options = {"azure_endpoint": url, "api_version": VERSION, "api_key": "unused"} | options
    return openai.AzureOpenAI(**options, max_retries=0)


@pytest.mark.parametrize("name", [MODEL, FULL_NAME])
def test_the_model_of_the_request(url: str, reference: Reference, name: str) -> None:
    answer = azure(url).embeddings.create(model=name, input=TEXTS)
    assert answer.model == name
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))


def test_the_deployment_of_the_client(url: str, reference: Reference) -> None:
    answer = azure(url, azure_deployment=MODEL).embeddings.create(model="text-embedding-3-small", input=TEXTS)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))


def test_async(url: str, reference: Reference) -> None:
    async def ask() -> None:
        async with openai.AsyncAzureOpenAI(azure_endpoint=url, api_version=VERSION, api_key="unused") as client:
            answer = await client.embeddings.create(model=MODEL, input=TEXTS, dimensions=64)
        assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS, dimensions=64))

    asyncio.run(ask())


def test_models(url: str) -> None:
    assert MODEL in [model.id for model in azure(url).models.list()]


def test_the_path_without_deployments(url: str, reference: Reference) -> None:
    """Azure's newer API, which Groq's clients use, too."""
    client = openai.OpenAI(base_url=f"{url}/openai/v1", api_key="unused")
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))


def test_errors(url: str) -> None:
    with pytest.raises(openai.NotFoundError, match="no model of that name"):
        azure(url).embeddings.create(model="no-such-model", input="a")
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        azure(url).embeddings.create(model=MODEL, input="a", dimensions=385)


def test_api_key(guarded_url: str, reference: Reference) -> None:
    with pytest.raises(openai.AuthenticationError, match="API key"):
        azure(guarded_url).embeddings.create(model=MODEL, input="a")
    answer = azure(guarded_url, api_key=API_KEY).embeddings.create(model=MODEL, input="a")
    assert_same_vectors([answer.data[0].embedding], reference.vectors(["a"]))
