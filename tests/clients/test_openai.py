"""openai: embeddings in all formats, models, errors and retries."""

import asyncio
import base64
import io
import json
import time

import numpy as np
import openai
import pytest
import tiktoken
from openai.types import Batch

from tests.clients.reference import Reference, assert_same_vectors
from tests.clients.samples import (
    API_KEY,
    DIMENSIONS,
    DOCUMENTS,
    FULL_NAME,
    JAPANESE,
    MODEL,
    QUERY,
    TEXTS,
    TOO_LONG,
)


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    """A client with another base URL."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=1)


@pytest.mark.parametrize("text", [TEXTS[0], JAPANESE])
def test_one_text(client: openai.OpenAI, reference: Reference, text: str) -> None:
    answer = client.embeddings.create(model=MODEL, input=text)
    assert answer.model == MODEL
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == reference.tokens([text])
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors([text]))


@pytest.mark.parametrize("chosen", [{}, {"encoding_format": "float"}], ids=["base64 by default", "float"])
def test_many_texts(client: openai.OpenAI, reference: Reference, chosen: dict[str, str]) -> None:
    answer = client.embeddings.create(model=FULL_NAME, input=TEXTS, **chosen)
    assert [entry.index for entry in answer.data] == list(range(len(TEXTS)))
    assert answer.usage.prompt_tokens == reference.tokens(TEXTS)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))


def test_explicit_base64(client: openai.OpenAI, reference: Reference) -> None:
    (entry,) = client.embeddings.create(model=MODEL, input=JAPANESE, encoding_format="base64").data
    vector = np.frombuffer(base64.b64decode(str(entry.embedding)), dtype="<f4")
    assert_same_vectors([vector], reference.vectors([JAPANESE]))


@pytest.mark.parametrize("encoding_format", ["float", None])
def test_dimensions(client: openai.OpenAI, reference: Reference, encoding_format: str | None) -> None:
    chosen = {"encoding_format": encoding_format} if encoding_format else {}
    answer = client.embeddings.create(model=MODEL, input=TEXTS, dimensions=64, **chosen)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS, dimensions=64))


def test_token_arrays(client: openai.OpenAI, reference: Reference) -> None:
    encoding = tiktoken.get_encoding("cl100k_base")
    arrays = [encoding.encode(text) for text in TEXTS]
    answer = client.embeddings.create(model=MODEL, input=arrays)
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors(TEXTS))
    answer = client.embeddings.create(model=MODEL, input=arrays[1])
    assert_same_vectors([entry.embedding for entry in answer.data], reference.vectors([TEXTS[1]]))


def test_async(url: str, reference: Reference) -> None:
    async def ask() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused") as client:
            answers = await asyncio.gather(*[client.embeddings.create(model=MODEL, input=text) for text in TEXTS])
        return [answer.data[0].embedding for answer in answers]

    assert_same_vectors(asyncio.run(ask()), reference.vectors(TEXTS))


def test_long_texts_are_truncated_with_a_warning(client: openai.OpenAI, reference: Reference) -> None:
    answer = client.embeddings.create(model=MODEL, input=TOO_LONG)
    assert_same_vectors([answer.data[0].embedding], reference.vectors([TOO_LONG]))
    assert answer.model_extra is not None
    assert "256" in answer.model_extra["warnings"][0]


def test_an_empty_text_alone_has_a_vector(client: openai.OpenAI, reference: Reference) -> None:
    answer = client.embeddings.create(model=MODEL, input="")
    assert_same_vectors([answer.data[0].embedding], reference.vectors([""]))
    assert answer.model_extra is not None
    assert "input is empty" in answer.model_extra["warnings"][0]


def test_unknown_fields_are_ignored_with_a_warning(client: openai.OpenAI, reference: Reference) -> None:
    answer = client.embeddings.create(model=MODEL, input=["a"], extra_body={"mystery": 1, "return_multivector": False})
    assert_same_vectors([answer.data[0].embedding], reference.vectors(["a"]))
    assert answer.model_extra is not None
    assert answer.model_extra["warnings"] == ["Ignored fields: mystery."]
    with pytest.raises(openai.BadRequestError, match="return_multivector") as caught:
        client.embeddings.create(model=MODEL, input=["a"], extra_body={"return_multivector": True})
    assert caught.value.param == "return_multivector"


def test_models(client: openai.OpenAI) -> None:
    assert MODEL in {model.id for model in client.models.list()}
    assert client.models.retrieve(MODEL).id == MODEL
    assert client.models.retrieve(FULL_NAME).object == "model"
    with pytest.raises(openai.NotFoundError, match="no model of that name"):
        client.models.retrieve("no-such/model")


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model of that name") as caught:
        client.embeddings.create(model="all-minilm-l6-v3", input="a")
    assert "Did you mean all-minilm-l6-v2" in str(caught.value)
    assert (caught.value.type, caught.value.param, caught.value.code) == (
        "invalid_request_error",
        "model",
        "model_not_found",
    )


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": [""]}, "input.0"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input.1"),
        ({"input": [[1, 200_000]]}, "input.0"),
        ({"input": "a", "dimensions": DIMENSIONS + 1}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
    ids=str,
)
def test_bad_input(client: openai.OpenAI, wrong: dict[str, object], param: str) -> None:
    with pytest.raises(openai.BadRequestError, match=param.partition(".")[0]) as caught:
        client.embeddings.create(model=MODEL, **wrong)
    assert caught.value.param == param


def test_truncation_is_rejected(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="the model takes 256") as caught:
        client.embeddings.create(model=MODEL, input=TOO_LONG, extra_body={"truncate": False})
    assert caught.value.code == "input_too_long"


def line(number: int, **changed: object) -> str:
    """A line of a batch that embeds one of TEXTS."""
    body = {"model": MODEL, "input": TEXTS[number]} | changed
    return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/embeddings", "body": body})


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    """The batch once it has ended; TimeoutError after minutes."""
    deadline = time.monotonic() + 300
    while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
        if time.monotonic() > deadline:
            raise TimeoutError(batch.status)
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


def test_batch(client: openai.OpenAI, reference: Reference) -> None:
    lines = [line(0), line(1, encoding_format="hex"), line(2)]
    file = client.files.create(file=("batch.jsonl", "\n".join(lines).encode()), purpose="batch")
    assert (file.purpose, file.filename) == ("batch", "batch.jsonl")
    assert client.files.retrieve(file.id) == file
    created = client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", metadata={"job": "test"}
    )
    assert created.status in ("validating", "in_progress")
    batch = ended(client, created)
    assert batch.status == "completed"
    assert batch.metadata == {"job": "test"}
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 3, "completed": 2, "failed": 1}
    output = [json.loads(each) for each in client.files.content(str(batch.output_file_id)).iter_lines()]
    vectors = {each["custom_id"]: each["response"]["body"]["data"][0]["embedding"] for each in output}
    assert_same_vectors([vectors["0"], vectors["2"]], reference.vectors([TEXTS[0], TEXTS[2]]))
    (error,) = client.files.content(str(batch.error_file_id)).text.splitlines()
    assert json.loads(error)["response"]["body"]["error"]["param"] == "encoding_format"
    assert batch.id in {each.id for each in client.batches.list(limit=1)}
    listed = {each.id for each in client.files.list(purpose="batch_output", limit=1)}
    assert {batch.output_file_id, batch.error_file_id} <= listed
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match="no file"):
        client.files.retrieve(file.id)


def test_batch_of_rankings(client: openai.OpenAI, reference: Reference) -> None:
    body = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
    only = {"custom_id": "a", "method": "POST", "url": "/v1/rerank", "body": body}
    file = client.files.create(file=json.dumps(only).encode(), purpose="batch")
    created = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/rerank",
        completion_window="24h",
    )
    batch = ended(client, created)
    (output,) = client.files.content(str(batch.output_file_id)).iter_lines()
    results = json.loads(output)["response"]["body"]["results"]
    assert [result["index"] for result in results] == [index for index, _ in reference.ranking(QUERY, DOCUMENTS)]


def test_batches_that_fail_or_are_cancelled(client: openai.OpenAI) -> None:
    file = client.files.create(
        file=io.BytesIO(b"not JSON"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600
    created = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    batch = ended(client, created)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(error.code, error.line) for error in batch.errors.data] == [("invalid_json_line", 1)]
    with pytest.raises(openai.BadRequestError, match="cannot be cancelled"):
        client.batches.cancel(batch.id)
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=b"{}", purpose="fine-tune")


def test_api_key(guarded_url: str, reference: Reference) -> None:
    client = openai.OpenAI(base_url=f"{guarded_url}/v1", api_key="wrong")
    with pytest.raises(openai.AuthenticationError, match="API key") as caught:
        client.embeddings.create(model=MODEL, input="a")
    assert caught.value.code == "invalid_api_key"
    answer = client.with_options(api_key=API_KEY).embeddings.create(model=MODEL, input="a")
    assert_same_vectors([answer.data[0].embedding], reference.vectors(["a"]))


def test_overload(crowded_url: str, naps: list[float]) -> None:
    client = openai.OpenAI(base_url=f"{crowded_url}/v1", api_key=API_KEY, max_retries=1)
    with pytest.raises(openai.RateLimitError, match="MAX_QUEUED_TOKENS") as caught:
        client.embeddings.create(model=MODEL, input=TEXTS)
    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert len(naps) == 1
    assert naps[0] >= 1  # without the header it would be half a second
