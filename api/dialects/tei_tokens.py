"""The routes of text-embeddings-inference that return numbers for tokens: /embed_sparse and /embed_all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, NotRequired

import orjson
from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from api.dialects.tei import MODEL, PROMPT_NAME, TruncationFields
from api.encodings import encode_rows
from api.field_types import Flag, Inputs, ModelName, Positive, Weight, as_inputs
from api.outputs import MIN_WEIGHT, TOP_K, Strings
from api.params import EmbeddingParams
from api.responses import Answer, FloatVector, write_vectors, written_as
from api.unsupported_fields import EMBEDDING_FIELDS
from api.work import Work
from runners.contracts import EmbeddingOptions, SparseVector

# Request bodies


class TokenRequest(TruncationFields):
    """The fields of both routes."""

    unsupported: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description=MODEL)
    inputs: Inputs = Field(description="A text, a list of texts, or token ids in the model's own vocabulary.")
    prompt_name: str | None = Field(None, description=PROMPT_NAME)


class TeiEmbedSparseRequest(TokenRequest):
    """POST /embed_sparse."""

    top_k: Positive | None = Field(None, description=TOP_K)
    min_weight: Weight | None = Field(None, description=MIN_WEIGHT)
    return_tokens: Flag | None = Field(
        None, description="Whether to return the tokens as strings as well. Default: false."
    )


class TeiEmbedAllRequest(TokenRequest):
    """POST /embed_all."""


# Answers


class TeiSparseValue(TypedDict):
    """The weight of one token."""

    index: Annotated[int, Field(description="Token id in the model's vocabulary.")]
    value: Annotated[float, Field(description="Weight, above 0.")]
    token: NotRequired[Annotated[str, Field(description="The token as a string, only if return_tokens is true.")]]


SparseVectors = TypeAliasType(
    "SparseVectors",
    Annotated[
        list[Annotated[orjson.Fragment, written_as(list[TeiSparseValue])]],
        Field(description="The weights of each text, by ascending token id."),
    ],
)
AllVectors = TypeAliasType(
    "AllVectors", Annotated[list[list[FloatVector]], Field(description="The vectors of the tokens of each text.")]
)


# Handlers


async def embed_sparse(work: Work, request: TeiEmbedSparseRequest, _: Mapping[str, str]) -> Answer[SparseVectors]:
    """POST /embed_sparse."""
    options = EmbeddingOptions(
        prompt_name=request.prompt_name,
        truncate=request.truncate_option(),
        outputs=("sparse",),
        top_k=request.top_k,
        min_weight=request.min_weight or 0,
        input_name="inputs",
    )
    params = EmbeddingParams(
        request.model, as_inputs(request.inputs), options, request.warnings(), bool(request.return_tokens)
    )
    embedded = await work.embed(params)
    vectors = embedded.result.sparse_vectors
    return await write_vectors(
        embedded.result, lambda: [_write_sparse(each, embedded.strings) for each in vectors], embedded.warnings
    )


def _write_sparse(vector: SparseVector, strings: Strings | None) -> orjson.Fragment:
    """The list of a vector's weights, serialized at once, so that no objects remain."""
    weights = zip(vector.indices.tolist(), vector.values, strict=True)
    entries: list[dict[str, object]] = [{"index": index, "value": value} for index, value in weights]
    if strings is not None:
        for entry, token in zip(entries, strings(vector.indices.tolist()), strict=True):
            entry["token"] = token
    return orjson.Fragment(orjson.dumps(entries, option=orjson.OPT_SERIALIZE_NUMPY))


async def embed_all(work: Work, request: TeiEmbedAllRequest, _: Mapping[str, str]) -> Answer[AllVectors]:
    """POST /embed_all: the last hidden states, special tokens included; of a model without dense vectors, its own."""
    options = EmbeddingOptions(
        prompt_name=request.prompt_name,
        truncate=request.truncate_option(),
        outputs=("states",),
        input_name="inputs",
    )
    params = EmbeddingParams(request.model, as_inputs(request.inputs), options, request.warnings())
    embedded = await work.embed(params)
    texts = embedded.result.token_vectors
    return await write_vectors(
        embedded.result, lambda: [encode_rows(each.vectors) for each in texts], embedded.warnings
    )
