"""JSON responses, and their parts that several API dialects share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

import orjson
from pydantic import Field, GetPydanticSchema, WithJsonSchema
from starlette.responses import Response
from typing_extensions import TypedDict

from api.json_body import run
from errors import InvalidRequestError
from runners.contracts import EmbeddingResult

T = TypeVar("T")

LARGE_ANSWER = 65_536
"""Responses with at least this many numbers or characters are serialized on another thread."""
_MAX_HEADER = 1_000


class Answer(Response, Generic[T]):
    """A JSON response with content of type T, which the OpenAPI document describes."""

    media_type = "application/json"


def written_as(json_type: Any) -> GetPydanticSchema:
    """Document a JSON fragment as `json_type`."""
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(json_type))


FloatVector = Annotated[orjson.Fragment, written_as(list[float])]
"""A vector, serialized from NumPy without a Python object for each number."""
_Base64 = Annotated[str, WithJsonSchema({"type": "string", "format": "byte"})]
Vector = Annotated[
    orjson.Fragment,
    written_as(list[float] | _Base64),
    Field(description="A list of numbers, or with base64 their little-endian bytes."),
]
Document = Annotated[orjson.Fragment | str, written_as(str | dict[str, Any])]

Index = Annotated[int, Field(description="Position in the request, starting at 0.")]
Score = Annotated[float, Field(description="From 0 to 1, unless raw_scores is true.")]
ListObject = Annotated[Literal["list"], Field(description="Always list.")]
ModelAsSent = Annotated[str, Field(description="Name of the model, as in the request.")]
ResponseId = Annotated[str, Field(description="Identifier of this response.")]
Warnings = Annotated[list[str], Field(description="Present only if there are warnings.")]


_DOCUMENTS_PER_SEARCH_UNIT = 100
"""As Cohere and Pinecone define the unit."""


class Usage(TypedDict):
    """Tokens by the model's own tokenizer."""

    prompt_tokens: Annotated[int, Field(description="Number of tokens that the model read.")]
    total_tokens: Annotated[int, Field(description="The same number.")]


class ApiVersion(TypedDict):
    """Version of Cohere's API."""

    version: Annotated[Literal["1", "2"], Field(description="1 or 2.")]


class RankedDocument(TypedDict):
    """The score of one document."""

    index: Index
    relevance_score: Score
    document: NotRequired[
        Annotated[
            Document, Field(description="Only if return_documents is true: a string or an object, as it was sent.")
        ]
    ]


def usage(tokens: int) -> Usage:
    """Token usage; all tokens are prompt tokens, because nothing is generated."""
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def search_units(documents: int) -> int:
    """What Cohere and Pinecone would bill for ranking this number of documents."""
    return -(-documents // _DOCUMENTS_PER_SEARCH_UNIT)


def ranked_documents(
    order: Sequence[tuple[int, float]], documents: Sequence[orjson.Fragment | str] | None
) -> list[RankedDocument]:
    """The results of a ranking. `order` has (index, score); `documents` None: results have no documents."""
    results: list[RankedDocument] = [{"index": index, "relevance_score": score} for index, score in order]
    if documents is not None:
        for result in results:
            result["document"] = documents[result["index"]]
    return results


def are_large(texts: Sequence[str]) -> bool:
    """Whether a response with these texts must be serialized on another thread."""
    return sum(map(len, texts)) >= LARGE_ANSWER


def answer(content: T, warnings: Sequence[str] = ()) -> Answer[T]:
    """Content as JSON. `warnings` go into a header, for responses without a field for them."""
    return Answer(orjson.dumps(content), headers=warning_header(warnings))


async def write_answer(make: Callable[[], T], *, large: bool, warnings: Sequence[str] = ()) -> Answer[T]:
    """The result of `make` as JSON. If it is large, both run on another thread."""

    def write() -> bytes:
        return orjson.dumps(make())

    return Answer(await run(write, in_thread=large), headers=warning_header(warnings))


async def write_vectors(result: EmbeddingResult, make: Callable[[], T], warnings: Sequence[str] = ()) -> Answer[T]:
    """The result of `make`, which contains the outputs of `result`, as JSON."""
    return await write_answer(make, large=result.size >= LARGE_ANSWER, warnings=warnings)


def warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """The header X-Warnings, truncated after a sentence; empty without warnings."""
    text = " ".join(warnings)
    if len(text) > _MAX_HEADER:
        text = f"{text[:_MAX_HEADER].rpartition('. ')[0]}. And more."
    return {"X-Warnings": text.encode("ascii", "replace").decode()} if text else {}


Documents = Sequence[str | dict[str, Any]]


async def write_documents(
    documents: Documents, *, as_objects: bool, name: str = "documents"
) -> list[orjson.Fragment | str]:
    """Documents as the response returns them. `as_objects`: strings become objects with the key text.

    Objects are serialized on another thread, because they may be large. InvalidRequestError names a document that JSON
    cannot represent, by `name`, the client's name for documents; call this before the model runs.
    """

    def write() -> list[orjson.Fragment | str]:
        return [
            _write_document({"text": each} if as_objects and isinstance(each, str) else each, f"{name}.{index}")
            for index, each in enumerate(documents)
        ]

    return await run(write, in_thread=any(isinstance(each, dict) for each in documents))


def _write_document(document: str | dict[str, Any], place: str) -> orjson.Fragment | str:
    """A document with its numbers unchanged: orjson rejects integers beyond 64 bits and writes 1e400 as null."""
    if isinstance(document, str):
        return document
    try:
        written = orjson.dumps(document)
        if b"null" not in written:
            return orjson.Fragment(written)
    except orjson.JSONEncodeError:
        pass
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise InvalidRequestError(
            f"{place} has a number that is too large to return. Send it as a string, or do not request the documents.",
            param=place,
        ) from None
    return orjson.Fragment(text.encode())
