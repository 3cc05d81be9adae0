"""What a request may say, field by field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.dialects.cohere import CohereEmbedRequest, CohereRerankRequest
from api.dialects.jina import MultiVectorRequest
from api.dialects.mixedbread import MixedbreadRerankRequest
from api.dialects.nim import NimRankingRequest
from api.dialects.ollama import OllamaEmbedRequest
from api.dialects.openai import EmbeddingRequest, RerankRequest
from api.dialects.tei import TeiEmbedRequest, TeiRerankRequest, TeiSimilarityRequest
from api.dialects.tei_tokens import TeiEmbedSparseRequest
from api.dialects.voyage import ContextualizedRequest
from api.error_body import invalid_request
from api.field_types import RequestBody
from errors import InvalidRequestError

EMBEDDING: dict[str, Any] = {"input": "a"}
RERANK: dict[str, Any] = {"query": "q", "documents": ["a"]}


@pytest.mark.parametrize(
    ("schema", "field", "given", "meant"),
    [
        (EmbeddingRequest, "input", "a", ["a"]),
        (EmbeddingRequest, "input", "", [""]),
        (EmbeddingRequest, "input", {"text": ""}, [""]),
        (EmbeddingRequest, "input", ["a", " "], ["a", " "]),
        (EmbeddingRequest, "model", "bge-m3", "bge-m3"),
        (EmbeddingRequest, "model", None, None),
        (EmbeddingRequest, "encoding_format", "base64", "base64"),
        (EmbeddingRequest, "encoding_format", None, None),
        (EmbeddingRequest, "dimensions", 256, 256),
        (EmbeddingRequest, "dimensions", None, None),
        (EmbeddingRequest, "input", {"text": "a"}, ["a"]),
        (EmbeddingRequest, "input", ["a", {"text": "b", "id": 1}], ["a", "b"]),
        (EmbeddingRequest, "input", [1, 2], [[1, 2]]),
        (EmbeddingRequest, "input", [[1, 2], [3]], [[1, 2], [3]]),
        (EmbeddingRequest, "input", [1.0, 2], [[1, 2]]),
        (EmbeddingRequest, "input", [[1, 2], [3.0, 4]], [[1, 2], [3, 4]]),
        (EmbeddingRequest, "dimensions", 256.0, 256),
        (EmbeddingRequest, "output_dimension", 256.0, 256),
        (EmbeddingRequest, "priority", 5.0, 5),
        (EmbeddingRequest, "normalize", False, False),
        (EmbeddingRequest, "encoding_type", "ubinary", "ubinary"),
        (EmbeddingRequest, "embedding_type", ["float"], "float"),
        (EmbeddingRequest, "truncate", False, "refuse"),
        (EmbeddingRequest, "truncate", "False", "refuse"),
        (EmbeddingRequest, "truncate", "NONE", "refuse"),
        (EmbeddingRequest, "truncate", True, "end"),
        (EmbeddingRequest, "truncate", "END", "end"),
        (EmbeddingRequest, "truncation", "start", "start"),
        (EmbeddingRequest, "normalized", "false", False),
        (EmbeddingRequest, "user", "me", "me"),
        (RerankRequest, "top_n", 3, 3),
        (RerankRequest, "top_n", 0, 0),
        (RerankRequest, "top_n", 3.0, 3),
        (RerankRequest, "top_k", 1e2, 100),
        (RerankRequest, "max_tokens_per_doc", 9.0, 9),
        (RerankRequest, "documents", ["", {"text": ""}], ["", {"text": ""}]),
        (RerankRequest, "query", "", ""),
        (RerankRequest, "query", {"text": ""}, ""),
        (RerankRequest, "rank_fields", ["a", "b", "a"], ["a", "b"]),
        (RerankRequest, "top_n", None, None),
        (RerankRequest, "return_documents", True, True),
        (RerankRequest, "return_documents", "true", True),
        (RerankRequest, "return_documents", None, None),
        (RerankRequest, "documents", ["a", "a"], ["a", "a"]),
        (RerankRequest, "documents", ["a", {"text": "b"}], ["a", {"text": "b"}]),
        (RerankRequest, "query", {"text": "q"}, "q"),
    ],
)
def test_a_field_is_read_as_it_is_meant(schema: type[BaseModel], field: str, given: Any, meant: Any) -> None:
    required = EMBEDDING if schema is EmbeddingRequest else RERANK
    value = getattr(schema.model_validate(required | {field: given}), field)
    assert value == meant
    assert type(value) is type(meant)


def each(*values: Any) -> tuple[Any, ...]:
    """Values of any types."""
    return values


WRONG: list[tuple[type[BaseModel], str, Any, str]] = [
    *[(EmbeddingRequest, "input", value, "input") for value in each([], 3, None, True, 1.5)],
    *[
        (EmbeddingRequest, "input", value, "input.0")
        for value in each([""], [{"text": ""}], {"image": "a"}, {"text": "a", "image": "b"}, [[]], [True])
    ],
    *[(EmbeddingRequest, "input", ["a", value], "input.1") for value in ("", 3, None, ["a"], {"text": 1}, True)],
    *[(EmbeddingRequest, "input", [[1], value], "input.1") for value in each("a", 1, [], None)],
    *[(EmbeddingRequest, "input", [1, value], "input.0.1") for value in ("a", 1.5, True, [2])],
    *[(EmbeddingRequest, "model", value, "model") for value in ("", 3, ["bge-m3"], "x" * 201)],
    *[(EmbeddingRequest, "encoding_format", value, "encoding_format") for value in ("int8", 1, "", ["float"])],
    *[
        (EmbeddingRequest, "dimensions", value, "dimensions")
        for value in (0, 0.0, -1, -1.0, 2.5, "256", True, [256], float("inf"))
    ],
    *[(EmbeddingRequest, "truncate", value, "truncate") for value in (1, 0, "no", [True])],
    *[(EmbeddingRequest, "user", value, "user") for value in each(3, ["me"], {})],
    *[(RerankRequest, "query", value, "query") for value in (None, 3, ["q"], {"text": 1}, {})],
    *[(RerankRequest, "documents", value, "documents") for value in each("a", [], None, {"a": 1}, 3)],
    *[(EmbeddingRequest, "embedding_type", value, "embedding_type") for value in ([], ["float", "int8"], "float16")],
    *[(EmbeddingRequest, "encoding_type", value, "encoding_type") for value in (["x"], 1)],
    *[(RerankRequest, "rank_fields", value, "rank_fields") for value in ("a", [1], {"a": 1}, [["a"]])],
    *[(RerankRequest, "documents", ["a", value], "documents.1") for value in (3, None, ["a"])],
    *[(RerankRequest, "top_n", value, "top_n") for value in (2.5, "3", True, [3])],
    *[(RerankRequest, "return_documents", value, "return_documents") for value in each(1, "yes", 0.0, [])],
    *[(RerankRequest, "truncate", value, "truncate") for value in (1, "MIDDLE")],
]


@pytest.mark.parametrize(("schema", "field", "value", "param"), WRONG)
def test_a_wrong_value_is_refused_with_its_place(schema: type[BaseModel], field: str, value: Any, param: str) -> None:
    required = EMBEDDING if schema is EmbeddingRequest else RERANK
    with pytest.raises(ValidationError) as raised:
        schema.model_validate(required | {field: value})
    error = invalid_request(raised.value)
    assert error.param == param
    assert error.message.startswith(f"{param}: ")


def test_unknown_fields_are_ignored_and_named() -> None:
    given = {
        "max_chunks_per_doc": 10,
        "overlap_tokens": 80,
        "unset": None,
        "user": "me",
        "options": {"use_cache": True},
    }
    request = RerankRequest.model_validate(RERANK | given)
    plain = RerankRequest.model_validate(RERANK).params()
    assert request.params() == replace(plain, warnings=request.warnings())
    assert request.warnings() == ["Ignored fields: max_chunks_per_doc, overlap_tokens."]
    assert RerankRequest.model_validate(RERANK).warnings() == []


def test_names_in_a_warning_are_few_short_and_no_text() -> None:
    secret = "my password is 1234"
    names = [secret, "x" * 41, "é", "a\r\nb", "", *(f"field_{number}" for number in range(30))]
    (warning,) = EmbeddingRequest.model_validate(EMBEDDING | dict.fromkeys(names, 1)).warnings()
    assert warning.startswith("Ignored fields: field_0, ")
    assert warning.endswith("field_9, 25 more.")
    assert len(warning) < 200
    (only,) = EmbeddingRequest.model_validate(EMBEDDING | {secret: 1}).warnings()
    assert only == "Ignored fields: 1."


def test_fields_of_an_inner_object_are_named() -> None:
    body = {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {"mystery": 1}, "other": 2}
    assert TeiSimilarityRequest.model_validate(body).warnings() == ["Ignored fields: other, mystery."]


REFUSED: list[tuple[type[BaseModel], dict[str, Any], str, Any]] = [
    *[(CohereEmbedRequest, {"texts": ["a"]}, "late_chunking", value) for value in (True, "true", 1)],
    (EmbeddingRequest, EMBEDDING, "return_multivector", True),
    (EmbeddingRequest, EMBEDDING, "modality", "image"),
    (EmbeddingRequest, EMBEDDING, "truncate_prompt_tokens", 256),
    (EmbeddingRequest, EMBEDDING, "add_special_tokens", False),
    (EmbeddingRequest, EMBEDDING, "embed_dtype", "float16"),
    (EmbeddingRequest, EMBEDDING, "endianness", "big"),
    (EmbeddingRequest, EMBEDDING, "prompt", "Represent this: "),
    (EmbeddingRequest, EMBEDDING, "images", ["data:image/png;base64,"]),
    (TeiEmbedRequest, {"inputs": "a"}, "return_sparse", True),
    (MultiVectorRequest, {"input": "a"}, "late_chunking", True),
    (TeiEmbedSparseRequest, {"inputs": "a"}, "return_colbert_vecs", True),
    (CohereEmbedRequest, {"texts": ["a"]}, "max_tokens", 10),
    (CohereEmbedRequest, {"texts": ["a"]}, "images", ["data:image/png;base64,"]),
    (TeiEmbedRequest, {"inputs": "a"}, "late_chunking", True),
    (RerankRequest, RERANK, "rewrite_query", True),
    (RerankRequest, RERANK, "use_activation", False),
    (RerankRequest, RERANK, "instruct", "Find the cat"),
    (CohereRerankRequest, RERANK, "relevant_spans", {}),
    (TeiRerankRequest, {"query": "q", "texts": ["a"]}, "truncate_prompt_tokens", 10),
    (RerankRequest, RERANK, "parameters", {"truncate": "NONE"}),
    (ContextualizedRequest, {"inputs": [["a"]]}, "enable_auto_chunking", True),
    (OllamaEmbedRequest, {"input": "a"}, "prompt", "Represent this: "),
    (NimRankingRequest, {"query": "q", "passages": ["a"]}, "modality", "image"),
    (MixedbreadRerankRequest, {"query": "q", "input": ["a"]}, "rewrite_query", True),
]


@pytest.mark.parametrize(("schema", "body", "field", "value"), REFUSED)
def test_a_field_that_would_change_the_answer_is_refused(
    schema: type[RequestBody], body: dict[str, Any], field: str, value: object
) -> None:
    unused = {f"unused_{number}": 1 for number in range(2_000)}
    with pytest.raises(InvalidRequestError, match=f"^{field}: this value is not supported. [A-Z].*") as raised:
        schema.model_validate(body | unused | {field: value}).warnings()
    assert raised.value.param == field


@pytest.mark.parametrize(
    ("schema", "body", "field", "value"),
    [
        *[(EmbeddingRequest, EMBEDDING, "late_chunking", value) for value in (False, "false", None)],
        (EmbeddingRequest, EMBEDDING, "return_multivector", False),
        (EmbeddingRequest, EMBEDDING, "modality", "text"),
        (EmbeddingRequest, EMBEDDING, "truncate_prompt_tokens", -1),
        (EmbeddingRequest, EMBEDDING, "add_special_tokens", True),
        (EmbeddingRequest, EMBEDDING, "images", []),
        (RerankRequest, RERANK, "use_activation", True),
        (RerankRequest, RERANK, "parameters", {"truncate": "END"}),
        (RerankRequest, RERANK, "latency", "fast"),
        (MixedbreadRerankRequest, {"query": "q", "input": ["a"]}, "rewrite_query", False),
        (OllamaEmbedRequest, {"input": "a"}, "keep_alive", "5m"),
        (OllamaEmbedRequest, {"input": "a"}, "keep_alive", -1),
        (OllamaEmbedRequest, {"input": "a"}, "options", {"temperature": 0.5, "seed": None}),
    ],
)
def test_unless_it_asks_for_what_is_done_anyway(
    schema: type[RequestBody], body: dict[str, Any], field: str, value: object
) -> None:
    assert schema.model_validate(body | {field: value}).warnings() == []


@pytest.mark.parametrize("count", [100, 101, 200_000])
def test_rank_fields_are_counted_once_each(count: int) -> None:
    names = [f"field {number}" for number in range(count)]
    if count > 100:
        with pytest.raises(ValidationError, match=f"has {count} names; the limit is 100"):
            RerankRequest.model_validate(RERANK | {"rank_fields": names})
    else:
        assert RerankRequest.model_validate(RERANK | {"rank_fields": [*names, *names]}).rank_fields == names
        document = {"query": "q", "documents": [{names[0]: "one", names[1]: "two"}], "rank_fields": [*names, *names]}
        assert RerankRequest.model_validate(document).params().documents == ["one\ntwo"]


@pytest.mark.parametrize(
    ("fields", "encoding", "output_type"),
    [
        ({}, "float", "float"),
        ({"encoding_type": "ubinary"}, "float", "ubinary"),
        ({"encoding_type": "base64"}, "base64", "float"),
        ({"embedding_type": ["binary"]}, "float", "binary"),
        ({"encoding_type": "int8", "embedding_type": "int8", "output_dtype": "int8"}, "float", "int8"),
    ],
)
def test_the_type_of_the_numbers_by_any_name(fields: dict[str, Any], encoding: str, output_type: str) -> None:
    request = EmbeddingRequest.model_validate(EMBEDDING | fields)
    assert (request.encoding, request.output_type) == (encoding, output_type)


def test_names_of_one_thing_must_agree() -> None:
    request = EmbeddingRequest.model_validate(EMBEDDING | {"encoding_type": "int8", "embedding_type": "float"})
    with pytest.raises(InvalidRequestError, match="embedding_type and encoding_type"):
        request.output_type  # noqa: B018  # reading it is the test


def test_nothing_is_required_beyond_what_the_specification_requires() -> None:
    required = {
        schema: {name for name, field in schema.model_fields.items() if field.is_required()}
        for schema in (EmbeddingRequest, RerankRequest)
    }
    assert required == {EmbeddingRequest: {"input"}, RerankRequest: {"query", "documents"}}


def test_every_body_with_such_fields_looks_at_them() -> None:
    """The parameters are read before anything is computed."""
    for request in (
        EmbeddingRequest.model_validate(EMBEDDING | {"return_multivector": True}),
        MultiVectorRequest.model_validate(EMBEDDING | {"return_multivector": True}),
        RerankRequest.model_validate(RERANK | {"rewrite_query": True}),
        CohereEmbedRequest.model_validate({"texts": ["a"], "max_tokens": 3}),
        CohereRerankRequest.model_validate(RERANK | {"relevant_spans": {}}),
    ):
        with pytest.raises(InvalidRequestError, match="this value is not supported"):
            request.params(2**20) if isinstance(request, EmbeddingRequest) else request.params()


@pytest.mark.parametrize(
    ("fields", "outputs"),
    [
        ({}, ("dense",)),
        ({"return_sparse": True, "return_dense": True}, ("dense", "sparse")),
        ({"return_dense": False, "return_sparse": "true"}, ("sparse",)),
        ({"return_sparse": True, "return_colbert_vecs": True}, ("dense", "sparse", "multi_vector")),
    ],
)
def test_outputs_are_those_of_the_flags(fields: dict[str, Any], outputs: tuple[str, ...]) -> None:
    assert EmbeddingRequest.model_validate(EMBEDDING | fields).params(2**20).options.outputs == outputs


def test_a_request_for_no_output_is_rejected() -> None:
    request = EmbeddingRequest.model_validate(EMBEDDING | {"return_dense": False})
    with pytest.raises(InvalidRequestError, match="send return_sparse or return_colbert_vecs") as raised:
        request.params(2**20)
    assert raised.value.param == "return_dense"


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({}, "document"),
        ({"model": "bge-m3"}, "document"),
        ({"model": "bge-m3:query"}, None),  # the name says it
        ({"model": "bge-m3:query", "input_type": "document"}, "document"),
        ({"task": "retrieval.query"}, "retrieval.query"),
    ],
)
def test_multi_vectors_are_those_of_documents_unless_the_request_says_otherwise(
    fields: dict[str, Any], side: str | None
) -> None:
    assert MultiVectorRequest.model_validate(EMBEDDING | fields).params().options.input_type == side


def test_chunks_imply_late_chunking() -> None:
    options = EmbeddingRequest.model_validate(EMBEDDING | {"chunks": [[0, 1], [1, 5]]}).params(2**20).options
    assert (options.late_chunking, options.spans) == (True, ((0, 1), (1, 5)))


@pytest.mark.parametrize("chunk", [[1, 1], [2, 1], [-1, 1], [0], [0, 1, 2], [0, True], [0, 1.5], "01", None])
def test_a_chunk_has_a_start_and_an_end(chunk: Any) -> None:
    with pytest.raises(ValidationError, match="must be \\[start, end\\] in characters"):
        EmbeddingRequest.model_validate(EMBEDDING | {"chunks": [[0, 1], chunk]})


def test_a_field_may_have_a_name_that_we_use_ourselves() -> None:
    request = EmbeddingRequest.model_validate(EMBEDDING | {"params": 1, "warnings": 2, "encoding": 3, "unsupported": 4})
    assert request.params(2**20).warnings == ["Ignored fields: params, warnings, encoding, unsupported."]
    assert request.encoding == "float"
