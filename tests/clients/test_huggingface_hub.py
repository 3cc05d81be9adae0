"""huggingface_hub's InferenceClient with the URL of the service."""

import asyncio

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from tests.clients.reference import Reference, assert_same_vectors
from tests.clients.samples import API_KEY, DOCUMENTS, JAPANESE, QUERY, TEXTS, TOO_LONG


@pytest.fixture
def client(url: str) -> InferenceClient:
    """The URL of the server is passed as the model."""
    return InferenceClient(model=url, token="unused")


@pytest.mark.parametrize("name", ["model", "base_url"])
@pytest.mark.parametrize("path", ["", "/embed"])
def test_feature_extraction(url: str, reference: Reference, name: str, path: str) -> None:
    client = InferenceClient(**{name: url + path}, token="unused")
    assert_same_vectors(client.feature_extraction(JAPANESE), reference.vectors([JAPANESE]))
    assert_same_vectors(client.feature_extraction(TEXTS), reference.vectors(TEXTS))


def test_without_normalization(client: InferenceClient, reference: Reference) -> None:
    (vector,) = client.feature_extraction(JAPANESE, normalize=False)
    length = float((vector**2).sum() ** 0.5)
    assert length > 1.5
    assert_same_vectors([vector / length], reference.vectors([JAPANESE]))


@pytest.mark.parametrize("path", ["", "/similarity"])
def test_sentence_similarity(url: str, reference: Reference, path: str) -> None:
    client = InferenceClient(model=url + path, token="unused")
    cosines = client.sentence_similarity(QUERY, other_sentences=DOCUMENTS)
    assert_same_vectors(cosines, [2 * score - 1 for score in reference.scores(QUERY, DOCUMENTS)])


def test_async(url: str, reference: Reference) -> None:
    async def ask() -> None:
        async with AsyncInferenceClient(model=url, token="unused") as client:
            assert_same_vectors(await client.feature_extraction(TEXTS), reference.vectors(TEXTS))

    asyncio.run(ask())


def test_truncation(client: InferenceClient, reference: Reference) -> None:
    assert_same_vectors(client.feature_extraction(TOO_LONG, truncate=True), reference.vectors([TOO_LONG]))
    with pytest.raises(BadRequestError, match="the model takes 256"):
        client.feature_extraction(TOO_LONG, truncate=False)


def test_truncation_of_the_start(client: InferenceClient, reference: Reference) -> None:
    text = f"{JAPANESE} {TOO_LONG}"
    ours = client.feature_extraction(text, truncate=True, truncation_direction="left")
    assert_same_vectors(ours, client.feature_extraction(f"two {TOO_LONG}", truncation_direction="left"))


def test_bad_input(client: InferenceClient) -> None:
    with pytest.raises(BadRequestError, match=r"inputs\.0: String should have at least 1 character"):
        client.feature_extraction(["", "a"])
    with pytest.raises(BadRequestError, match="no such prompt"):
        client.feature_extraction("a", prompt_name="no-such-prompt")


def test_an_empty_text_alone_has_a_vector(client: InferenceClient, reference: Reference) -> None:
    assert_same_vectors(client.feature_extraction(""), reference.vectors([""]))


def test_api_key(guarded_url: str, reference: Reference) -> None:
    with pytest.raises(HfHubHTTPError, match="API key") as caught:
        InferenceClient(model=guarded_url, token="wrong").feature_extraction("a")
    assert caught.value.response.status_code == 401
    client = InferenceClient(model=guarded_url, token=API_KEY)
    assert_same_vectors(client.feature_extraction("a"), reference.vectors(["a"]))


def test_overload(crowded_url: str) -> None:
    with pytest.raises(HfHubHTTPError, match="MAX_QUEUED_TOKENS") as caught:
        InferenceClient(model=crowded_url, token=API_KEY).feature_extraction(TEXTS)
    assert caught.value.response.status_code == 429
