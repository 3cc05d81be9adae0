"""Results to bytes: numbers survive exactly, order and counts are right, nothing is there that nobody asked for."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access_log import RequestRecord, current
from api.dialects.openai import embeddings_of, ranking_of
from api.encodings import Encoding
from api.responses import answer as json_answer
from api.responses import warning_header, write_documents
from api.work import Embedded, Ranked, ranked, truncation_warnings
from errors import InvalidRequestError
from runners.contracts import EmbeddingResult, RerankResult, SparseVector, TokenVectors, TruncatedInput


def embedding(vectors: Any, encoding: Encoding = "float", warnings: Sequence[str] = ()) -> dict[str, Any]:
    result = EmbeddingResult(np.asarray(vectors, dtype=np.float32), 7, [])
    content: dict[str, Any] = json.loads(
        orjson.dumps(embeddings_of(Embedded(result, "as-said", [*warnings]), encoding))
    )
    return content


def rerank(scores: list[float], *, top_n: int | None = None, **options: Any) -> dict[str, Any]:
    result = RerankResult(np.array(scores), np.array(scores) * 100, 11, [])
    order = ranked(result, top_n=top_n, raw_scores=options.pop("raw_scores", False))
    answered = Ranked(result, order, "as-said", options.pop("warnings", []))
    given = {"documents": None, "processing_time_ms": 1.23456} | options
    content: dict[str, Any] = json.loads(orjson.dumps(ranking_of(answered, **given)))
    return content


def order(answer: dict[str, Any]) -> list[int]:
    return [entry["index"] for entry in answer["results"]]


def test_an_embedding_answer_is_openais() -> None:
    assert embedding([[1, 0], [0, -0.5]]) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, 0.0]},
            {"object": "embedding", "index": 1, "embedding": [0.0, -0.5]},
        ],
        "model": "as-said",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
        "id": "",
    }


def all_outputs(**options: Any) -> dict[str, Any]:
    """An answer with every output for one text."""
    sparse = SparseVector(np.array([2, 7], np.int32), np.array([0.5, 0.1], np.float32))
    tokens = TokenVectors(np.array([[1, 0], [0.6, -0.8]], np.float32), np.array([9, 7], np.int32))
    result = EmbeddingResult(np.array([[0, 1]], np.float32), 3, [], sparse=[sparse], multi_vectors=[tokens])
    strings = options.pop("strings", None)
    content: dict[str, Any] = json.loads(orjson.dumps(embeddings_of(Embedded(result, "m", [], strings), **options)))
    (item,) = content["data"]
    return dict(item)


def test_sparse_and_token_vectors_are_beside_the_embedding() -> None:
    assert all_outputs() == {
        "object": "embedding",
        "index": 0,
        "embedding": [0.0, 1.0],
        "sparse_embedding": {"indices": [2, 7], "values": [0.5, 0.1]},
        "colbert_vecs": [[1.0, 0.0], [0.6, -0.8]],
    }


def test_tokens_are_strings_if_the_request_wants_them() -> None:
    item = all_outputs(strings=lambda ids: [f"t{number}" for number in ids])
    assert item["sparse_embedding"]["tokens"] == ["t2", "t7"]
    assert item["colbert_tokens"] == ["t9", "t7"]


def test_the_encoding_applies_to_embeddings_and_token_vectors() -> None:
    item = all_outputs(encoding="base64")
    vectors = [np.frombuffer(base64.b64decode(each), "<f4").tolist() for each in item["colbert_vecs"]]
    assert vectors == [[1, 0], [np.float32(0.6), np.float32(-0.8)]]
    assert item["sparse_embedding"] == {"indices": [2, 7], "values": [0.5, 0.1]}
    np.testing.assert_allclose(all_outputs(output_type="int8")["colbert_vecs"], [[127, -1], [95, -128]], atol=1)
    assert all_outputs(output_type="ubinary")["colbert_vecs"] == [[128], [128]]


def test_without_dense_vectors_an_answer_has_none() -> None:
    sparse = [SparseVector(np.array([5], np.int32), np.array([1], np.float32))] * 2
    result = EmbeddingResult(None, 3, [], sparse=sparse)
    content = embeddings_of(Embedded(result, "m", []))
    assert json.loads(orjson.dumps(content["data"])) == [
        {"object": "embedding", "index": index, "sparse_embedding": {"indices": [5], "values": [1.0]}}
        for index in range(2)
    ]


def test_an_embedding_answer_has_the_identifier_of_its_request() -> None:
    token = current.set(RequestRecord("request-1", "POST", "/v1/embeddings"))
    try:
        assert embedding([[1]])["id"] == "request-1"  # Mistral's client requires a string
    finally:
        current.reset(token)


def test_warnings_are_there_only_when_there_are_some() -> None:
    assert embedding([[1]], warnings=["careful"])["warnings"] == ["careful"]
    assert rerank([1], warnings=["careful"])["meta"]["warnings"] == ["careful"]


def test_each_cut_is_a_sentence() -> None:
    cuts = [
        TruncatedInput(3, 600, 512),
        TruncatedInput(9, 800, 512, exact=False),
        TruncatedInput(-1, 700, 512),
        TruncatedInput(4, 900, 100, by="request"),
        TruncatedInput(-1, 5000, 200, exact=False, by="query"),
        TruncatedInput(5, 30, 30, exact=False, by="bytes"),
    ]
    assert truncation_warnings(cuts, "input") == [
        "input.3 was cut from 600 tokens to the model's limit of 512.",
        "input.9 was cut from more than 800 tokens to the model's limit of 512.",
        "query was cut from 700 tokens to the model's limit of 512.",
        "input.4 was cut from 900 tokens to the request's max_tokens_per_doc of 100.",
        "query was cut from more than 5000 tokens to 200, half of the tokens that fit beside the prompt.",
        "input.5 was read up to the limit of MAX_TEXT_BYTES, which is 30 tokens.",
    ]


def test_a_rerank_answer_has_every_promised_field() -> None:
    answer = rerank([0.25, 0.75])
    assert uuid.UUID(answer.pop("id")).version == 4
    assert answer == {
        "model": "as-said",
        "results": [{"index": 1, "relevance_score": 0.75}, {"index": 0, "relevance_score": 0.25}],
        "usage": {"prompt_tokens": 11, "total_tokens": 11, "rerank_units": 1},
        "object": "list",
        "data": [
            {"index": 1, "relevance_score": 0.75, "score": 0.75},
            {"index": 0, "relevance_score": 0.25, "score": 0.25},
        ],
        "meta": {
            "api_version": "v1",
            "processing_time_ms": 1.235,
            "total_documents": 2,
            "returned_documents": 2,
        },
    }


@given(scores=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5000000001, 1.0]), min_size=1, max_size=30))
def test_best_first_and_equal_scores_in_input_order(scores: list[float]) -> None:
    assert order(rerank(scores)) == sorted(range(len(scores)), key=lambda index: (-scores[index], index))


@pytest.mark.parametrize(("documents", "units"), [(1, 1), (100, 1), (101, 2), (1000, 10)])
def test_units_are_counted_as_pinecone_counts_them(documents: int, units: int) -> None:
    assert rerank([0.5] * documents)["usage"]["rerank_units"] == units


async def test_the_best_come_back_with_their_documents_and_raw_scores_are_asked_for() -> None:
    documents = await write_documents(["zero", {"text": "one"}], as_objects=False)
    answer = rerank([0.1, 0.2], documents=documents, top_n=1, raw_scores=True)
    (result,) = answer["results"]
    assert result == {"index": 1, "relevance_score": 20.0, "document": {"text": "one"}}
    assert answer["data"] == [result | {"score": 20.0}]
    assert (answer["meta"]["total_documents"], answer["meta"]["returned_documents"]) == (2, 1)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30, 1.5, True, None])
async def test_a_documents_other_fields_come_back_as_they_were(number: object) -> None:
    document = {"text": "日本", "number": number, "deep": [[{"n": number}]]}
    documents = await write_documents([document], as_objects=False)
    assert rerank([0.1], documents=documents)["results"][0]["document"] == document


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("number", [float("inf"), float("-inf"), pytest.param(10**4300, id="4301 digits")])
async def test_a_number_that_json_cannot_carry_is_refused_with_its_document(number: float, null: bool) -> None:
    """1e400 is read as infinity; a number of 4,301 digits exceeds what Python writes."""
    documents: list[str | dict[str, Any]] = ["a", {"text": "b", "deep": [{"n": number, "null": None if null else 0}]}]
    with pytest.raises(InvalidRequestError, match=r"^documents\.1 has a number that is too large") as raised:
        await write_documents(documents, as_objects=False)
    assert raised.value.param == "documents.1"


async def test_documents_come_back_as_objects_where_a_client_reads_those() -> None:
    documents = await write_documents(["a", {"text": "b", "id": 2**70}], as_objects=True)
    found = rerank([0.2, 0.1], documents=documents)["results"]
    assert [result["document"] for result in found] == [{"text": "a"}, {"text": "b", "id": 2**70}]


def test_warnings_in_a_header_are_short_and_plain() -> None:
    assert warning_header([]) == {}
    assert warning_header(["One thing.", "日本."]) == {"X-Warnings": "One thing. ??."}
    (many,) = warning_header([f"input.{number} was cut." for number in range(1_000)]).values()
    assert len(many) < 1_020
    assert many.startswith("input.0 was cut. input.1 was cut.")
    assert many.endswith(" was cut. And more.")


def test_plain_content_is_json() -> None:
    response = json_answer({"日本": None})
    assert (response.status_code, response.media_type) == (200, "application/json")
    assert json.loads(bytes(response.body)) == {"日本": None}
