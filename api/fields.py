"""Types of fields that several request bodies share, and what may be read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

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

from api.ignored import HARMLESS, Refused, as_bool, ignored_warning
from errors import InvalidRequestError
from runners.contracts import Truncate

T = TypeVar("T")

_MAX_NAME = 200
MAX_RANK_FIELDS = 100


class Limits(Protocol):
    """The settings that bound a request body."""

    @property
    def max_inputs(self) -> int: ...

    @property
    def max_documents(self) -> int: ...


def _as_integer(value: object) -> object:
    """128.0 is an integer in JSON Schema: JSON has one kind of numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_integers(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """The same for each item, only where the list is not right as it is: lists of token ids are long."""
    try:
        return validate(value)
    except ValidationError:
        if isinstance(value, list) and any(isinstance(item, float) for item in value):
            return validate([_as_integer(item) for item in value])
        raise


Text = Annotated[str, StringConstraints(strict=True, min_length=1)]
AnyText = Annotated[str, StringConstraints(strict=True)]
"""Also an empty one: a query or a document."""
Instruction = Annotated[str, StringConstraints(strict=True, max_length=4000)]
ModelName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=_MAX_NAME)]
Count = Annotated[int, Field(strict=True), BeforeValidator(_as_integer)]
Positive = Annotated[int, Field(strict=True, ge=1), BeforeValidator(_as_integer)]
Priority = Annotated[int, Field(strict=True, ge=0, le=999), BeforeValidator(_as_integer)]


class Body(BaseModel):
    """Base of every request body. Fields of other services that would change the answer are refused, others ignored."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    refused: ClassVar[Mapping[str, Refused]] = {}
    """Fields of the same route elsewhere that this service cannot honour."""

    def warnings(self) -> list[str]:
        """What the client should know of its fields; InvalidRequestError for one that would change the answer."""
        ignored = self._ignored()
        return ignored_warning(ignored) if ignored else []

    def _ignored(self) -> list[str]:
        """Names of the fields without effect, those of the objects in this one included."""
        names: list[str] = []
        if extra := self.model_extra:
            given = {name: value for name, value in extra.items() if value is not None}
            for name in given.keys() & self.refused.keys():
                self.refused[name].check(name, given[name])
            names += [name for name in given if name not in self.refused and name not in HARMLESS]
        for value in self.__dict__.values():
            if isinstance(value, Body):
                names += value._ignored()
        return names


Flag = Annotated[bool, BeforeValidator(as_bool), Field(strict=True), WithJsonSchema({"type": "boolean"})]

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
_ANY_TEXT_SCHEMA = {"type": "string"}
_TEXT_PROPERTY = {"text": _ANY_TEXT_SCHEMA | {"description": "The text."}}
_WITH_TEXT = {"type": "object", "properties": _TEXT_PROPERTY}
_OBJECT_SCHEMA = _WITH_TEXT | {"required": ["text"]}
_IDS_SCHEMA = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}

TextOrObject = Annotated[
    AnyText, BeforeValidator(text_of), WithJsonSchema({"anyOf": [_ANY_TEXT_SCHEMA, _OBJECT_SCHEMA]})
]


def at_most(count: int, limit: int, field: str, variable: str) -> None:
    """InvalidRequestError where a list is longer than a setting allows."""
    if count > limit:
        raise InvalidRequestError(
            f"{field} has {count} items; one request takes at most {limit} ({variable}). Send several requests.",
            param=field,
        )


@dataclass(frozen=True)
class Items:
    """A list of at least `least` items, at most as many as the setting `most` allows, up to the first wrong one.

    Both are checked before the items: pydantic keeps an error of a kilobyte for each. An annotation of our own, as
    BentoML puts pydantic's in another order where it copies a schema.
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
            at_most(len(value), getattr(info.context, self.most), info.field_name or "input", self.most.upper())
        return value


Texts = Annotated[list[Text], Items("max_inputs", least=0)]
AnyTexts = Annotated[list[AnyText], Items("max_documents")]
TokenIds = Annotated[list[Annotated[int, Field(strict=True)]], Items(), WrapValidator(_as_integers)]


def _as_inputs(value: object) -> object:
    """One input is a list of one; an object counts by its text."""
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
    """An input's text; of one that is more than text, nothing, so that it is refused by its index."""
    return value if isinstance(value, dict) and not _OTHER_MEDIA.isdisjoint(value) else text_of(value)


_OTHER_MEDIA = frozenset({"image", "image_url", "audio", "video", "pdf"})
"""Keys of Jina's and vLLM's multimodal inputs."""


def _alone(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """An empty text is an input where it is the only one, as LangChain sends it; in a list it is a mistake."""
    return [""] if _input_text(value) == "" else validate(value)


def _kind(value: object) -> Literal["as texts", "as token ids"]:
    return "as token ids" if isinstance(value, list) and value and isinstance(value[0], list) else "as texts"


UNION_TAGS = frozenset({"as texts", "as token ids"})
"""Parts of pydantic's error locations that are no fields; a field may be called texts."""

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
    """Names count once, and are counted before anything is read by them."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise PydanticCustomError("names", "must be a list of strings")
    names = list(dict.fromkeys(value))
    if len(names) > MAX_RANK_FIELDS:
        raise PydanticCustomError("names", f"has {len(names)} names; a request takes at most {MAX_RANK_FIELDS}")
    return names


FieldNames = Annotated[
    list[str],
    PlainValidator(_distinct),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "maxItems": MAX_RANK_FIELDS}),
]


def document_texts(documents: Sequence[str | dict[str, Any]], rank_fields: Sequence[str] | None) -> list[str]:
    """What is read of each document: a string itself; of an object `text`, or the values of `rank_fields` in turn.

    InvalidRequestError names the object that has none of them.
    """
    names = tuple(rank_fields or ("text",))
    return [each if isinstance(each, str) else _fields(each, names, index) for index, each in enumerate(documents)]


def _fields(document: dict[str, Any], names: tuple[str, ...], index: int) -> str:
    values = [document[name] for name in names if name in document]
    if not values or not all(isinstance(value, str) for value in values):
        wanted = "the key text" if names == ("text",) else "one of the keys of rank_fields"
        raise InvalidRequestError(
            f"documents.{index} must have {wanted}, with a string as its value.", param=f"documents.{index}"
        )
    return "\n".join(values)


def either(first: T | None, second: T | None, names: str) -> T | None:
    """A field that goes by two names; InvalidRequestError where they disagree."""
    if first is None:
        return second
    if second is not None and first != second:
        raise InvalidRequestError(f"{names} mean the same and differ here; send one of them.", param=names.split()[0])
    return first
