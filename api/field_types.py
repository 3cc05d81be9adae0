"""The base class of request bodies, and the types of their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from api.unsupported_fields import HARMLESS, Unsupported, as_bool, ignored_warning
from errors import InvalidRequestError
from runners.contracts import Input, Truncate

T = TypeVar("T")

_MAX_NAME = 200
MAX_RANK_FIELDS = 100


def _as_integer(value: object) -> object:
    """Accept 128.0, which is an integer in JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_integers(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """The same for each item of a list, after a first validation has failed: lists of token ids are long."""
    try:
        return validate(value)
    except ValidationError:
        if isinstance(value, list) and any(isinstance(item, float) for item in value):
            return validate([_as_integer(item) for item in value])
        raise


Text = Annotated[str, StringConstraints(strict=True, min_length=1)]
AnyText = Annotated[str, StringConstraints(strict=True)]
"""May be empty: a query or a document."""
Instruction = Annotated[str, StringConstraints(strict=True, max_length=4000)]
ModelName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=_MAX_NAME)]
Count = Annotated[int, Field(strict=True), BeforeValidator(_as_integer)]
Positive = Annotated[int, Field(strict=True, ge=1), BeforeValidator(_as_integer)]
Weight = Annotated[float, Field(strict=True, ge=0)]
Priority = Annotated[int, Field(strict=True, ge=0, le=999), BeforeValidator(_as_integer)]
PRIORITY = (
    "Order in the queue: 0 (the default) runs first, 999 last. Priority rises by ten steps for each second of waiting."
)


class RequestBody(BaseModel):
    """Base of all request bodies.

    Known fields of the wrong type are rejected. Unknown fields are ignored, unless they would change the response.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    unsupported: ClassVar[Mapping[str, Unsupported]] = {}
    """Fields that other services accept on the same route, and that would change the response."""

    def warnings(self) -> list[str]:
        """Warnings about ignored fields; InvalidRequestError for a field that would change the response."""
        ignored = self._ignored()
        return ignored_warning(ignored) if ignored else []

    def _ignored(self) -> list[str]:
        """Names of the ignored fields, including those of nested objects."""
        names: list[str] = []
        if extra := self.model_extra:
            given = {name: value for name, value in extra.items() if value is not None}
            for name in given.keys() & self.unsupported.keys():
                self.unsupported[name].check(name, given[name])
            names += [name for name in given if name not in self.unsupported and name not in HARMLESS]
        for value in self.__dict__.values():
            if isinstance(value, RequestBody):
                names += value._ignored()
        return names


Flag = Annotated[bool, BeforeValidator(as_bool), Field(strict=True), WithJsonSchema({"type": "boolean"})]

_TRUNCATE = {"none": "refuse", "end": "end", "start": "start", "true": "end", "false": "refuse", "refuse": "refuse"}
"""`refuse` itself is accepted because BentoML's copy of a schema applies each validator of an optional field twice."""


def _as_truncate(value: object) -> object:
    """True, false, or Cohere's NONE, START and END, as Truncate."""
    if isinstance(value, bool | str) and (known := _TRUNCATE.get(str(value).lower())):
        return known
    raise PydanticCustomError("truncate", "must be true, false, NONE, START or END")


TruncateField = Annotated[
    Truncate,
    BeforeValidator(_as_truncate),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["NONE", "START", "END"]}]}),
]


def text_of(value: object) -> object:
    """The text of `{"text": "..."}`; other values unchanged."""
    return value["text"] if isinstance(value, dict) and isinstance(value.get("text"), str) else value


_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_ANY_TEXT_SCHEMA = {"type": "string"}
_TEXT_PROPERTY = {"text": _ANY_TEXT_SCHEMA | {"description": "The text."}}
_WITH_TEXT = {"type": "object", "properties": _TEXT_PROPERTY}
_OBJECT_SCHEMA = _WITH_TEXT | {"required": ["text"]}
_IDS_SCHEMA = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}

TextOrObject = Annotated[
    AnyText, BeforeValidator(text_of), WithJsonSchema({"anyOf": [_ANY_TEXT_SCHEMA, _OBJECT_SCHEMA]})
]


def check_count(count: int, limit: int, name: str, variable: str) -> None:
    """InvalidRequestError if a list is longer than a setting allows."""
    if count > limit:
        raise InvalidRequestError(
            f"{name} has {count} items; a request may have at most {limit} ({variable}). Send several requests.",
            param=name,
        )


def check_pair(first: str, others: Sequence[str], first_name: str, others_name: str) -> None:
    """InvalidRequestError if both texts of a pair are empty."""
    if not first and "" in others:
        name = f"{others_name}.{list(others).index('')}"
        raise InvalidRequestError(f"{name} and {first_name} are both empty; one of them must have text.", param=name)


@dataclass(frozen=True)
class Items:
    """A list of at least `least` items, and at most as many as the setting `most` allows.

    The length is checked before the items, and the first invalid item ends the validation: pydantic's errors take a
    kilobyte each. This is our own annotation because BentoML reorders pydantic's when it copies a schema.
    """

    most: Literal["max_inputs", "max_documents"] | None = None
    least: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if schema["type"] == "list":
            schema = core_schema.list_schema(schema.get("items_schema"), min_length=self.least, fail_fast=True)
        return core_schema.with_info_before_validator_function(self._count, schema)

    def _count(self, value: object, info: ValidationInfo) -> object:
        if self.most is not None and info.context is not None and isinstance(value, list):
            check_count(len(value), getattr(info.context, self.most), info.field_name or "input", self.most.upper())
        return value


Texts = Annotated[list[Text], Items("max_inputs", least=0)]
AnyTexts = Annotated[list[AnyText], Items("max_documents")]
TokenIds = Annotated[list[Annotated[int, Field(strict=True)]], Items(), WrapValidator(_as_integers)]


def _as_inputs(value: object) -> object:
    """A single input becomes a list."""
    if isinstance(value, str | dict):
        value = [value]
    if not isinstance(value, list):
        raise PydanticCustomError("inputs", "must be a string, a list of strings, token ids, or a list of token ids")
    if value and isinstance(value[0], int | float) and not isinstance(value[0], bool):
        return [value]  # one text as token ids
    return value


def _as_texts(value: object) -> object:
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return [_input_text(each) for each in value]
    return value


def _input_text(value: object) -> object:
    """The text of an object; objects with other media stay, so that they are rejected with their index."""
    return value if isinstance(value, dict) and not _OTHER_MEDIA.isdisjoint(value) else text_of(value)


_OTHER_MEDIA = frozenset({"image", "image_url", "audio", "video", "pdf"})
"""Keys of Jina's and vLLM's multimodal inputs."""


def _alone(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """A single empty text is valid, because LangChain sends it; an empty text in a list is not."""
    return [""] if _input_text(value) == "" else validate(value)


def _kind(value: object) -> Literal["as texts", "as token ids"]:
    return "as token ids" if isinstance(value, list) and value and isinstance(value[0], list) else "as texts"


UNION_TAGS = frozenset({"as texts", "as token ids"})
"""Parts of pydantic's error locations that are not field names."""

Inputs = Annotated[
    Annotated[list[Text], Items("max_inputs"), BeforeValidator(_as_texts), Tag("as texts")]
    | Annotated[list[TokenIds], Items("max_inputs"), Tag("as token ids")],
    Discriminator(_kind),
    BeforeValidator(_as_inputs),
    WrapValidator(_alone),
    WithJsonSchema(
        {
            "anyOf": [
                _ANY_TEXT_SCHEMA,
                {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT_SCHEMA, _OBJECT_SCHEMA]}},
                _IDS_SCHEMA,
                {"type": "array", "minItems": 1, "items": _IDS_SCHEMA},
            ]
        }
    ),
]
"""OpenAI's four forms of `input`, and Jina's objects."""


Passages = Annotated[
    list[AnyText],
    Items("max_documents"),
    BeforeValidator(_as_texts),
    WithJsonSchema(
        {"type": "array", "minItems": 1, "items": {"anyOf": [_ANY_TEXT_SCHEMA, _OBJECT_SCHEMA]}},
    ),
]
"""NIM's objects with the key text, or texts."""


def _chunk(value: object) -> object:
    """The start and end of a chunk. BentoML's copy of a schema validates the tuple once more."""
    if isinstance(value, list | tuple) and [type(each) for each in value] == [int, int] and 0 <= value[0] < value[1]:
        return tuple(value)
    raise PydanticCustomError("chunk", "must be [start, end] in characters, with start from 0 and end above it")


Chunks = Annotated[
    list[Annotated[tuple[int, int], PlainValidator(_chunk)]],
    Items("max_inputs"),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer", "minimum": 0}},
        }
    ),
]


def as_inputs(inputs: list[str] | list[list[int]]) -> list[Input]:
    """Texts, or token ids of the model's own vocabulary."""
    return [each if isinstance(each, str) else tuple(each) for each in inputs]


def _document(value: object) -> object:
    if isinstance(value, dict | str):
        return value
    raise PydanticCustomError("document", "must be a string, or an object with the key text")


Document = Annotated[
    str | dict[str, Any],
    PlainValidator(_document),
    WithJsonSchema({"anyOf": [_ANY_TEXT_SCHEMA, _WITH_TEXT]}),
]
Documents = Annotated[list[Document], Items("max_documents")]


def _distinct(value: object) -> object:
    """The names without duplicates, at most MAX_RANK_FIELDS."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise PydanticCustomError("names", "must be a list of strings")
    names = list(dict.fromkeys(value))
    if len(names) > MAX_RANK_FIELDS:
        raise PydanticCustomError("names", f"has {len(names)} names; the limit is {MAX_RANK_FIELDS}")
    return names


FieldNames = Annotated[
    list[str],
    PlainValidator(_distinct),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "maxItems": MAX_RANK_FIELDS}),
]


def document_texts(
    documents: Sequence[str | dict[str, Any]], rank_fields: Sequence[str] | None, name: str = "documents"
) -> list[str]:
    """The text of each document: a string itself; of an object the key `text`, or the keys in `rank_fields` in order.

    InvalidRequestError names the first object without any of these keys; `name` is the client's name for documents.
    """
    names = tuple(rank_fields or ("text",))
    return [
        each if isinstance(each, str) else _text_of_object(each, names, f"{name}.{index}")
        for index, each in enumerate(documents)
    ]


def _text_of_object(document: dict[str, Any], names: tuple[str, ...], place: str) -> str:
    values = [document[name] for name in names if name in document]
    if not values or not all(isinstance(value, str) for value in values):
        wanted = "the key text" if names == ("text",) else "a key of rank_fields"
        raise InvalidRequestError(f"{place} must have {wanted} with a string value.", param=place)
    return "\n".join(values)


def either(first: T | None, second: T | None, names: str) -> T | None:
    """The value of a field with two names; InvalidRequestError if both are present and differ."""
    if first is None:
        return second
    if second is not None and first != second:
        raise InvalidRequestError(
            f"{names} are names of the same option and have different values. Send one of them.", param=names.split()[0]
        )
    return first
