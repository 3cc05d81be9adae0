"""What a request may say, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.error_body import invalid_request
from api.schemas import EmbeddingRequest, RerankRequest

EMBEDDING: dict[str, Any] = {"input": "a"}
RERANK: dict[str, Any] = {"query": "q", "documents": ["a"]}


@pytest.mark.parametrize(
    ("schema", "field", "given", "meant"),
    [
        (EmbeddingRequest, "input", "a", ["a"]),
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


WRONG = [
    *[(EmbeddingRequest, "input", value, "input") for value in ([], 3, None, True, 1.5)],
    *[(EmbeddingRequest, "input", value, "input.0") for value in ("", {"text": ""}, {"image": "a"}, [[]], [True])],
    *[(EmbeddingRequest, "input", ["a", value], "input.1") for value in ("", 3, None, ["a"], {"text": 1}, True)],
    *[(EmbeddingRequest, "input", [[1], value], "input.1") for value in ("a", 1, [], None)],
    *[(EmbeddingRequest, "input", [1, value], "input.0.1") for value in ("a", 1.5, True, [2])],
    *[(EmbeddingRequest, "model", value, "model") for value in ("", 3, ["bge-m3"], "x" * 201)],
    *[(EmbeddingRequest, "encoding_format", value, "encoding_format") for value in ("int8", 1, "", ["float"])],
    *[(EmbeddingRequest, "dimensions", value, "dimensions") for value in (0, -1, 2.0, "256", True, [256])],
    *[(EmbeddingRequest, "truncate", value, "truncate") for value in (1, 0, "no", [True])],
    *[(EmbeddingRequest, "user", value, "user") for value in (3, ["me"], {})],
    *[(RerankRequest, "query", value, "query") for value in ("", None, 3, ["q"], {"text": 1}, {"text": ""})],
    *[(RerankRequest, "documents", value, "documents") for value in ("a", [], None, {"a": 1}, 3)],
    *[(RerankRequest, "documents", ["a", value], "documents.1") for value in ("", 3, None, ["a"])],
    *[(RerankRequest, "top_n", value, "top_n") for value in (2.0, 2.5, "3", True, [3])],
    *[(RerankRequest, "return_documents", value, "return_documents") for value in (1, "yes", 0.0, [])],
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


@pytest.mark.parametrize(
    ("schema", "given", "param"),
    [
        (EmbeddingRequest, {}, "input"),
        (RerankRequest, {"documents": ["a"]}, "query"),
        (RerankRequest, {"query": "q"}, "documents"),
    ],
)
def test_a_missing_field_is_named(schema: type[BaseModel], given: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as raised:
        schema.model_validate(given)
    assert invalid_request(raised.value).param == param


def test_unknown_fields_are_ignored() -> None:
    request = RerankRequest.model_validate(RERANK | {"max_chunks_per_doc": 10, "late_chunking": True})
    assert request.model_dump(exclude_none=True) == RERANK


def test_nothing_is_required_beyond_what_the_specification_requires() -> None:
    required = {
        schema: {name for name, field in schema.model_fields.items() if field.is_required()}
        for schema in (EmbeddingRequest, RerankRequest)
    }
    assert required == {EmbeddingRequest: {"input"}, RerankRequest: {"query", "documents"}}
