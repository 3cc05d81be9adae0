"""Request bodies. Unknown fields are ignored, known ones of the wrong type are refused with the field's name."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError, from_json

from errors import InvalidRequestError

Text = Annotated[str, StringConstraints(strict=True, min_length=1)]

_MAX_NAME = 200
Instruction = Annotated[str, StringConstraints(strict=True, max_length=4000)]
ModelName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=_MAX_NAME)]


def _as_list(value: object) -> object:
    """One text is a list of one."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value
    raise PydanticCustomError("texts", "must be a string or a list of strings")


def _as_bool(value: object) -> object:
    """Some clients send "true"."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


Texts = Annotated[
    list[Text],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]
Flag = Annotated[bool, BeforeValidator(_as_bool), Field(strict=True), WithJsonSchema({"type": "boolean"})]
Count = Annotated[int, Field(strict=True)]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class EmbeddingRequest(Body):
    """POST /v1/embeddings, as OpenAI defines it."""

    model: ModelName | None = Field(None, description="Short name or full name of an embedding model.")
    input: Texts = Field(description="A text, or a list of texts.")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="base64: little-endian float32. Default: float."
    )
    dimensions: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        None, description="Cut the vectors to this many dimensions and scale them to length 1 again."
    )
    truncate: Flag | None = Field(None, description="false: refuse too long a text with 400 instead of cutting it.")
    input_type: str | None = Field(
        None, description="Side of a search, for models with prompts: query or document (search_query, passage, ...)."
    )
    prompt_name: str | None = Field(None, description="A prompt of the model by its name; GET /models lists them.")
    instruction: Instruction | None = Field(
        None, description="What is searched for, in words, for models whose prompt takes an instruction."
    )
    user: str | None = Field(None, description="Accepted for OpenAI's clients; not used.")


class RerankRequest(Body):
    """POST /v1/rerank, as Cohere and Jina define it."""

    model: ModelName | None = Field(None, description="Short name or full name of a reranker or embedding model.")
    query: Text = Field(description="What the documents are ranked by.")
    documents: list[Text] = Field(min_length=1, description="The texts to rank.")
    top_n: Count | None = Field(None, description="How many results to return; null or 0: all.")
    return_documents: Flag | None = Field(None, description="Whether each result holds its document. Default: false.")
    instruction: Instruction | None = Field(
        None, description="What counts as relevant, in words, for models that take an instruction."
    )
    truncate: Flag | None = Field(None, description="false: refuse too long a pair with 400 instead of cutting it.")


B = TypeVar("B", bound=BaseModel)


def parse(schema: type[B], body: bytes) -> B:
    """Bytes of a request to a checked body; ValidationError or InvalidRequestError where they are wrong.

    Parsed by pydantic's own JSON parser, which refuses NaN, Infinity, invalid UTF-8 and deep nesting.
    """
    try:
        content: Any = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        # the parser's message gives a reason and a place, and no part of the text
        raise InvalidRequestError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(content, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return schema.model_validate(content)
