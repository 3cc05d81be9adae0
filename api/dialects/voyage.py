"""Voyage's /v1/contextualizedembeddings. Its other routes are those of OpenAI and Cohere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.dialects.openai import Embedding
from api.encodings import Encoding, OutputType, encode_rows, quantize
from api.field_types import Items, ModelName, Positive, RequestBody, Text
from api.params import EmbeddingParams
from api.responses import Answer, Index, ListObject, ModelAsSent, Usage, Warnings, usage, write_vectors
from api.unsupported_fields import EMBEDDING_FIELDS
from api.work import Work
from errors import InvalidRequestError
from runners.contracts import EmbeddingOptions

Chunks = Annotated[list[Text], Items("max_inputs")]


class ContextualizedRequest(RequestBody):
    """POST /v1/contextualizedembeddings."""

    unsupported: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of an embedding model.")
    inputs: Annotated[list[Chunks], Items("max_inputs")] = Field(
        description="Lists of one text each. Lists of several chunks are rejected, because this route embeds each text "
        "without its neighbours."
    )
    input_type: str | None = Field(None, description="query or document.")
    output_dimension: Positive | None = Field(None, description="Truncate the vectors to this many dimensions.")
    output_dtype: OutputType | None = Field(None, description="Data type of the numbers. Default: float.")
    encoding_format: Encoding | None = Field(None, description="base64: little-endian bytes. Default: float.")

    def params(self) -> EmbeddingParams:
        """The common form; InvalidRequestError names the first list with several chunks."""
        for index, chunks in enumerate(self.inputs):
            if len(chunks) > 1:
                raise InvalidRequestError(
                    f"inputs.{index} has {len(chunks)} chunks; this route embeds each text without its "
                    "neighbours. Send each chunk in a list of its own, or use late_chunking on /v1/embeddings.",
                    param=f"inputs.{index}",
                )
        options = EmbeddingOptions(
            input_type=self.input_type,
            dimensions=self.output_dimension,
            dimensions_name="output_dimension",
            input_name="inputs",
        )
        return EmbeddingParams(self.model, [chunk for (chunk,) in self.inputs], options, self.warnings())


class ContextualizedEmbedding(TypedDict):
    """The vectors of one list."""

    object: ListObject
    index: Index
    data: Annotated[list[Embedding], Field(description="The vector of its text.")]


class ContextualizedEmbeddings(TypedDict):
    """Vectors in the order of the inputs."""

    object: ListObject
    data: Annotated[list[ContextualizedEmbedding], Field(description="One entry for each list.")]
    model: ModelAsSent
    usage: Usage
    warnings: NotRequired[Warnings]


async def contextualized(
    work: Work, request: ContextualizedRequest, _: Mapping[str, str]
) -> Answer[ContextualizedEmbeddings]:
    """POST /v1/contextualizedembeddings."""
    embedded = await work.embed(request.params())

    def content() -> ContextualizedEmbeddings:
        numbers = quantize(embedded.result.dense, request.output_dtype or "float")
        rows = encode_rows(numbers, request.encoding_format or "float")
        answered: ContextualizedEmbeddings = {
            "object": "list",
            "data": [
                {"object": "list", "index": index, "data": [{"object": "embedding", "index": 0, "embedding": row}]}
                for index, row in enumerate(rows)
            ],
            "model": embedded.model,
            "usage": usage(embedded.result.prompt_tokens),
        }
        if embedded.warnings:
            answered["warnings"] = embedded.warnings
        return answered

    return await write_vectors(embedded.result, content)
