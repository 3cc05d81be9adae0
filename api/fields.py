"""Types of fields that several request bodies share, and what may be read from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from errors import InvalidRequestError
from runners.tokenization import Truncate

T = TypeVar("T")

_MAX_NAME = 200
Text = Annotated[str, StringConstraints(strict=True, min_length=1)]
Instruction = Annotated[str, StringConstraints(strict=True, max_length=4000)]
ModelName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=_MAX_NAME)]
Count = Annotated[int, Field(strict=True)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Priority = Annotated[int, Field(strict=True, ge=0, le=999)]
TokenIds = Annotated[list[Annotated[int, Field(strict=True)]], Field(min_length=1)]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


def _as_bool(value: object) -> object:
    """Some clients send "true"."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


Flag = Annotated[bool, BeforeValidator(_as_bool), Field(strict=True), WithJsonSchema({"type": "boolean"})]

_TRUNCATE = {"none": "refuse", "end": "end", "start": "start", "true": "end", "false": "refuse", "refuse": "refuse"}
"""The last one: BentoML's copy of a schema applies each validator of an optional field twice."""


def _as_truncate(value: object) -> object:
    """True, false, or Cohere's NONE, START and END -> what happens to an input that is too long."""
    if isinstance(value, bool | str) and (known := _TRUNCATE.get(str(value).lower())):
        return known
    raise PydanticCustomError("truncate", "must be true, false, NONE, START or END")


Truncation = Annotated[
    Truncate,
    BeforeValidator(_as_truncate),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["NONE", "START", "END"]}]}),
]


def text_of(value: object) -> object:
    """`{"text": "..."}` says the same as the text."""
    return value["text"] if isinstance(value, dict) and isinstance(value.get("text"), str) else value


_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_WITH_TEXT = {"type": "object", "properties": {"text": _TEXT_SCHEMA | {"description": "The text."}}}
_OBJECT_SCHEMA = _WITH_TEXT | {"required": ["text"]}
_IDS_SCHEMA = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}

TextOrObject = Annotated[Text, BeforeValidator(text_of), WithJsonSchema({"anyOf": [_TEXT_SCHEMA, _OBJECT_SCHEMA]})]


def _as_inputs(value: object) -> object:
    """One input is a list of one; an object counts by its text."""
    if isinstance(value, str | dict):
        value = [value]
    if not isinstance(value, list):
        raise PydanticCustomError("inputs", "must be a string, a list of strings, token ids, or a list of token ids")
    if any(isinstance(each, dict) for each in value):
        return [text_of(each) for each in value]
    if value and isinstance(value[0], int) and not isinstance(value[0], bool):
        return [value]  # one text as token ids
    return value


def _kind(value: object) -> Literal["as texts", "as token ids"]:
    return "as token ids" if isinstance(value, list) and value and isinstance(value[0], list) else "as texts"


UNION_TAGS = frozenset({"as texts", "as token ids"})
"""Parts of pydantic's error locations that are no fields; a field may be called texts."""

Inputs = Annotated[
    Annotated[list[Text], Field(min_length=1), Tag("as texts")]
    | Annotated[list[TokenIds], Field(min_length=1), Tag("as token ids")],
    Discriminator(_kind),
    BeforeValidator(_as_inputs),
    WithJsonSchema(
        {
            "anyOf": [
                _TEXT_SCHEMA,
                {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT_SCHEMA, _OBJECT_SCHEMA]}},
                _IDS_SCHEMA,
                {"type": "array", "minItems": 1, "items": _IDS_SCHEMA},
            ]
        }
    ),
]
"""OpenAI's four forms of `input`, and Jina's objects."""


def _document(value: object) -> object:
    if isinstance(value, dict) or (isinstance(value, str) and value):
        return value
    raise PydanticCustomError("document", "must be a string that is not empty, or an object with the key text")


Document = Annotated[
    str | dict[str, Any],
    PlainValidator(_document),
    WithJsonSchema({"anyOf": [_TEXT_SCHEMA, _WITH_TEXT]}),
]


def document_texts(documents: Sequence[str | dict[str, Any]], rank_fields: Sequence[str] | None) -> list[str]:
    """What is read of each document: a string itself; of an object `text`, or the values of `rank_fields` in turn.

    InvalidRequestError names the object that has none of them.
    """
    return [
        each if isinstance(each, str) else _fields(each, rank_fields or ("text",), index)
        for index, each in enumerate(documents)
    ]


def _fields(document: dict[str, Any], names: Sequence[str], index: int) -> str:
    values = [document[name] for name in names if name in document]
    text = "\n".join(value for value in values if isinstance(value, str))
    if not text or not all(isinstance(value, str) for value in values):
        wanted = "the key text" if list(names) == ["text"] else "one of the keys of rank_fields"
        raise InvalidRequestError(
            f"documents.{index} must have {wanted}, with a string that is not empty.", param=f"documents.{index}"
        )
    return text


def either(first: T | None, second: T | None, names: str) -> T | None:
    """A field that goes by two names; InvalidRequestError where they disagree."""
    if first is not None and second is not None and first != second:
        raise InvalidRequestError(f"{names} mean the same and differ here; send one of them.", param=names.split()[0])
    return second if first is None else first
