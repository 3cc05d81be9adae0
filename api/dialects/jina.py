"""Jina's /v1/multi-vector: a vector for each token. Jina's other routes are those of OpenAI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.access_log import request_id
from api.dialects.openai import OneEmbeddingType
from api.encodings import encode_rows, quantize
from api.field_types import (
    PRIORITY,
    Flag,
    Inputs,
    ModelName,
    Positive,
    Priority,
    RequestBody,
    TruncateField,
    as_inputs,
    either,
)
from api.outputs import RETURN_TOKENS, TokenEmbeddings, Tokens
from api.params import EmbeddingParams
from api.responses import Answer, Index, ListObject, ModelAsSent, Usage, Warnings, usage, write_vectors
from api.unsupported_fields import EMBEDDING_FIELDS, Unsupported
from api.work import Embedded, Work
from models.catalog import split_side
from runners.contracts import EmbeddingOptions


class MultiVectorRequest(RequestBody):
    """POST /v1/multi-vector."""

    unsupported: ClassVar = {
        **EMBEDDING_FIELDS,
        "normalized": Unsupported("Vectors of tokens always have length 1: omit it.", (True,)),  # Weaviate
    }

    model: ModelName | None = Field(None, description="Short name or full name of a model with multi-vectors.")
    input: Inputs = Field(
        description="A text or a list of texts; a text may be an object with the key text. Or token ids in the model's "
        "own vocabulary."
    )
    input_type: str | None = Field(None, description="query or document. Default: document.")
    task: str | None = Field(None, description="Another name for input_type: retrieval.query or retrieval.passage.")
    embedding_type: OneEmbeddingType | None = Field(
        None, description="float (the default), int8, uint8, binary, ubinary, or base64 for the bytes of float."
    )
    dimensions: Positive | None = Field(
        None, description="Truncate the vectors to this many dimensions and normalize them again."
    )
    truncate: TruncateField | None = Field(
        None,
        description="false or NONE: reject texts that are too long (400). START: cut off the start. "
        "Default: cut off the end.",
    )
    return_tokens: Flag | None = Field(None, description=RETURN_TOKENS)
    priority: Priority | None = Field(None, description=PRIORITY)

    def params(self) -> EmbeddingParams:
        """The common form. As with Jina, texts are documents unless the request or the model's name says otherwise."""
        side = either(self.input_type, self.task, "input_type and task")
        options = EmbeddingOptions(
            input_type=side or (None if self.model and split_side(self.model)[1] else "document"),
            dimensions=self.dimensions,
            truncate=self.truncate or "end",
            priority=self.priority or 0,
            outputs=("multi_vector",),
        )
        return EmbeddingParams(self.model, as_inputs(self.input), options, self.warnings(), bool(self.return_tokens))


class MultiVector(TypedDict):
    """The token vectors of one text."""

    object: Annotated[Literal["embeddings"], Field(description="Always embeddings.")]
    index: Index
    embeddings: TokenEmbeddings
    tokens: NotRequired[Tokens]


class MultiVectors(TypedDict):
    """Token vectors in the order of the inputs."""

    object: ListObject
    data: Annotated[list[MultiVector], Field(description="One entry for each input.")]
    model: ModelAsSent
    usage: Usage
    id: Annotated[str, Field(description="Identifier of the request, as in the header X-Request-Id.")]
    warnings: NotRequired[Warnings]


async def multi_vector(work: Work, request: MultiVectorRequest, _: Mapping[str, str]) -> Answer[MultiVectors]:
    """POST /v1/multi-vector."""
    embedded = await work.embed(request.params())
    return await write_vectors(embedded.result, lambda: _content(embedded, request.embedding_type or "float"))


def _content(embedded: Embedded, embedding_type: OneEmbeddingType) -> MultiVectors:
    content: MultiVectors = {
        "object": "list",
        "data": [],
        "model": embedded.model,
        "usage": usage(embedded.result.prompt_tokens),
        "id": request_id(),
    }
    for index, found in enumerate(embedded.result.token_vectors):
        rows = (
            encode_rows(found.vectors, "base64")
            if embedding_type == "base64"
            else encode_rows(quantize(found.vectors, embedding_type))
        )
        item: MultiVector = {"object": "embeddings", "index": index, "embeddings": rows}
        if embedded.strings is not None:
            item["tokens"] = embedded.strings(found.token_ids.tolist())
        content["data"].append(item)
    if embedded.warnings:
        content["warnings"] = embedded.warnings
    return content
