"""The API of OpenAI with the fields of Jina and Voyage: /v1/embeddings, /v1/rerank, /v1/tokenize and /v1/models."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NotRequired, get_args

import orjson
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.client_libraries import ClientLibrary, client_library
from api.context import Context
from api.encodings import EmbeddingType, Encoding, OutputType, encode_rows, quantize
from api.field_types import (
    PRIORITY,
    Count,
    Documents,
    FieldNames,
    Flag,
    Inputs,
    Instruction,
    ModelName,
    Positive,
    Priority,
    RequestBody,
    TextOrObject,
    TruncateField,
    as_inputs,
    document_texts,
    either,
)
from api.params import CountParams, EmbeddingParams, RerankParams
from api.responses import (
    Answer,
    ApiVersion,
    Index,
    RankedDocument,
    ResponseId,
    Vector,
    Warnings,
    answer,
    are_large,
    ranked_documents,
    write_answer,
    write_documents,
    write_vectors,
)
from api.routing import Request
from api.token_ids import decode
from api.unsupported_fields import EMBEDDING_FIELDS, RERANK_FIELDS
from api.work import Embedded, Ranked, Work
from models.catalog import ModelSpec
from runners.contracts import EmbeddingOptions, RerankOptions

_MANY_IDS = 2_000
"""Requests with at least this many token ids are decoded on another thread."""

# Request bodies


def _one_type(value: object) -> object:
    """Accept Jina's list of types if it has one type: a response has vectors of one type."""
    if not isinstance(value, list):
        return value
    if len(value) != 1:
        raise PydanticCustomError("one_type", "must be one type; send a separate request for each type")
    return value[0]


_TYPES = {"type": "string", "enum": list(get_args(EmbeddingType))}
OneEmbeddingType = Annotated[
    EmbeddingType,
    BeforeValidator(_one_type),
    WithJsonSchema({"anyOf": [_TYPES, {"type": "array", "items": _TYPES, "minItems": 1, "maxItems": 1}]}),
]
TokenEncoding = Literal["cl100k_base", "model"]

_INPUT_TYPE = "Side of the search, for models with prompts: query or document (also search_query, passage, ...)."


class EmbeddingRequest(RequestBody):
    """POST /v1/embeddings, as OpenAI, Jina and Voyage define it."""

    unsupported: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of an embedding model.")
    input: Inputs = Field(
        description="A text or a list of texts; a text may be an object with the key text. Or token ids: one array or "
        "several (see token_encoding)."
    )
    token_encoding: TokenEncoding | None = Field(
        None,
        description="Vocabulary of the token ids. cl100k_base (the default): OpenAI's, decoded to text. model: the "
        "model's own, without special tokens.",
    )
    encoding_format: Encoding | None = Field(
        None, description="float (the default): a list of numbers. base64: their little-endian bytes."
    )
    output_dtype: OutputType | None = Field(
        None,
        description="Data type of the numbers (Voyage). int8 and uint8: scaled by each vector's largest absolute "
        "value. binary and ubinary: one bit per dimension, eight packed into one number. Default: float.",
    )
    embedding_type: OneEmbeddingType | None = Field(
        None, description="Jina's name for output_dtype; base64 is the same as in encoding_format."
    )
    encoding_type: OneEmbeddingType | None = Field(None, description="LlamaIndex's name for embedding_type.")
    dimensions: Positive | None = Field(
        None, description="Truncate the vectors to this many dimensions and normalize them again."
    )
    output_dimension: Positive | None = Field(None, description="Voyage's name for dimensions.")
    truncate: TruncateField | None = Field(
        None,
        description="false or NONE: reject texts that are too long (400). START: cut off the start. "
        "Default: cut off the end.",
    )
    truncation: TruncateField | None = Field(None, description="Voyage's name for truncate.")
    normalized: Flag | None = Field(
        None, description="false: return the vectors without normalization. Default: vectors of length 1."
    )
    normalize: Flag | None = Field(None, description="vLLM's name for normalized.")
    input_type: str | None = Field(None, description=_INPUT_TYPE)
    task: str | None = Field(None, description="Jina's name for input_type: retrieval.query, retrieval.passage, ...")
    prompt_name: str | None = Field(None, description="Name of one of the model's prompts; GET /models lists them.")
    instruction: Instruction | None = Field(None, description="Task instruction, for models whose prompt takes one.")
    priority: Priority | None = Field(None, description=PRIORITY)
    user: str | None = Field(None, description="Accepted for compatibility with OpenAI; not used.")

    def params(self, max_bytes: int) -> EmbeddingParams:
        """The common form. Decodes token ids to at most `max_bytes` of text, which is slow for many ids."""
        options = EmbeddingOptions(
            input_type=either(self.input_type, self.task, "input_type and task"),
            prompt_name=self.prompt_name,
            instruction=self.instruction,
            dimensions=either(self.dimensions, self.output_dimension, "dimensions and output_dimension"),
            dimensions_name="output_dimension" if self.dimensions is None else "dimensions",
            truncate=either(self.truncate, self.truncation, "truncate and truncation") or "end",
            normalized=either(self.normalized, self.normalize, "normalized and normalize") is not False,
            priority=self.priority or 0,
        )
        own_ids = self.token_encoding == "model"  # noqa: S105  # not a password
        inputs = as_inputs(self.input) if own_ids else _decoded(self.input, max_bytes)
        return EmbeddingParams(self.model, inputs, options, self.warnings())

    @property
    def _jina_type(self) -> EmbeddingType | None:
        return either(self.embedding_type, self.encoding_type, "embedding_type and encoding_type")

    @property
    def encoding(self) -> Encoding:
        """Encoding of the numbers."""
        jina: Encoding | None = "base64" if self._jina_type == "base64" else None
        return either(self.encoding_format, jina, "encoding_format and embedding_type") or "float"

    @property
    def output_type(self) -> OutputType:
        """The data type of the numbers."""
        jina = self._jina_type if self._jina_type != "base64" else None
        return either(self.output_dtype, jina, "output_dtype and embedding_type") or "float"


class RerankRequest(RequestBody):
    """POST /v1/rerank, as Cohere, Jina and Voyage define it."""

    unsupported: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of a reranker or embedding model.")
    query: TextOrObject = Field(description="Query to rank the documents by.")
    documents: Documents = Field(description="Texts to rank, or objects with the key text.")
    rank_fields: FieldNames | None = Field(
        None,
        description="Keys to read from documents that are objects, in this order; at most 100. Default: text.",
    )
    top_n: Count | None = Field(None, description="Number of results to return. null or 0: all.")
    top_k: Count | None = Field(
        None, description="Voyage's name for top_n. The response then also has the results as data."
    )
    return_documents: Flag | None = Field(None, description="Whether results include their documents. Default: false.")
    max_tokens_per_doc: Positive | None = Field(
        None, description="Maximum number of tokens to read from each document."
    )
    raw_scores: Flag | None = Field(
        None, description="Whether to return the model's own scores instead of scores from 0 to 1. Default: false."
    )
    instruction: Instruction | None = Field(
        None, description="Task instruction that defines relevance, for models that take one."
    )
    truncate: TruncateField | None = Field(
        None,
        description="false or NONE: reject pairs that are too long (400). START: cut off the start. "
        "Default: cut off the end.",
    )
    truncation: TruncateField | None = Field(
        None, description="Voyage's name for truncate. The response then also has the results as data."
    )
    priority: Priority | None = Field(None, description=PRIORITY)

    def params(self) -> RerankParams:
        """The common form."""
        documents = document_texts(self.documents, self.rank_fields)
        options = RerankOptions(
            instruction=self.instruction,
            truncate=either(self.truncate, self.truncation, "truncate and truncation") or "end",
            max_document_tokens=self.max_tokens_per_doc,
            top_n=either(self.top_n, self.top_k, "top_n and top_k"),
            raw_scores=bool(self.raw_scores),
            priority=self.priority or 0,
        )
        return RerankParams(self.model, self.query, documents, options, self.warnings())

    @property
    def from_voyage(self) -> bool:
        """Whether a field shows that the client is Voyage's, which expects the results in `data`."""
        return not self.model_fields_set.isdisjoint({"top_k", "truncation"})


class TokenizeRequest(RequestBody):
    """POST /v1/tokenize: the number of tokens of each text, for choosing the size of chunks."""

    model: ModelName | None = Field(
        None, description="Any model that runs on this service. Default: the embedding model."
    )
    input: Inputs = Field(description="A text or a list of texts.")
    input_type: str | None = Field(None, description=_INPUT_TYPE)
    prompt_name: str | None = Field(None, description="Name of a prompt whose tokens are counted too.")

    def params(self) -> CountParams:
        """The common form."""
        return CountParams(
            model=self.model,
            inputs=self.input,
            input_name="input",
            input_type=self.input_type,
            prompt_name=self.prompt_name,
            warnings=self.warnings(),
        )


def _decoded(inputs: list[str] | list[list[int]], max_bytes: int) -> list[str]:
    """Texts unchanged, and ids of cl100k_base decoded to at most `max_bytes` of text."""
    arrays = [each for each in inputs if isinstance(each, list)]
    return decode(arrays, max_bytes) if arrays else [each for each in inputs if isinstance(each, str)]


# Answers

_Model = Annotated[str, Field(description="Name of the model, as in the request.")]
_List = Annotated[Literal["list"], Field(description="Always list.")]


class Usage(TypedDict):
    """Tokens by the model's own tokenizer."""

    prompt_tokens: Annotated[int, Field(description="Number of tokens that the model read.")]
    total_tokens: Annotated[int, Field(description="The same number.")]


class Embedding(TypedDict):
    """One vector."""

    object: Annotated[Literal["embedding"], Field(description="Always embedding.")]
    index: Index
    embedding: Vector


class Embeddings(TypedDict):
    """Vectors in the order of the inputs."""

    object: _List
    data: Annotated[list[Embedding], Field(description="One vector for each input.")]
    model: _Model
    usage: Usage
    warnings: NotRequired[Warnings]


class RankingMeta(TypedDict):
    """Facts about this response."""

    api_version: Annotated[
        Literal["v1"] | ApiVersion, Field(description="v1, or for Cohere's SDK the object that it reads.")
    ]
    processing_time_ms: Annotated[float, Field(description="Time from the parsed request to the scores.")]
    total_documents: Annotated[int, Field(description="Number of documents in the request.")]
    returned_documents: Annotated[int, Field(description="Number of results in the response.")]
    warnings: NotRequired[Warnings]


class Ranking(TypedDict):
    """Documents by relevance, best first."""

    id: ResponseId
    model: _Model
    results: Annotated[
        list[RankedDocument],
        Field(description="Best first. Documents with equal scores keep the order of the request."),
    ]
    usage: Usage
    meta: RankingMeta
    object: NotRequired[_List]
    data: NotRequired[
        Annotated[
            list[RankedDocument], Field(description="The results again, for Voyage's client: with top_k or truncation.")
        ]
    ]


class TokenCount(TypedDict):
    """The number of tokens of one text."""

    object: Annotated[Literal["token_count"], Field(description="Always token_count.")]
    index: Index
    tokens: Annotated[int, Field(description="Number of tokens, with the prompt and special tokens.")]
    fits: Annotated[bool, Field(description="Whether the model can read all of them.")]


class TokenCounts(TypedDict):
    """The number of tokens of each text."""

    object: _List
    model: _Model
    data: Annotated[list[TokenCount], Field(description="One entry for each text.")]
    max_tokens: Annotated[int, Field(description="The model's limit, special tokens included.")]
    special_tokens: Annotated[int, Field(description="Number of special tokens that are added to each text.")]
    usage: Usage
    warnings: NotRequired[Warnings]


class OpenAIModel(TypedDict):
    """A model, as OpenAI describes it."""

    id: Annotated[str, Field(description="Short name.")]
    object: Annotated[Literal["model"], Field(description="Always model.")]
    created: Annotated[int, Field(description="Always 0.")]
    owned_by: Annotated[str, Field(description="Organization on the Hub.")]


class OpenAIModels(TypedDict):
    """All models, as OpenAI lists them."""

    object: _List
    data: Annotated[list[OpenAIModel], Field(description="In the order of the catalogue.")]


# Handlers


async def embeddings(work: Work, request: EmbeddingRequest, _: Mapping[str, str]) -> Answer[Embeddings]:
    """POST /v1/embeddings."""
    return await embed(work, request)


async def embed(work: Work, request: EmbeddingRequest) -> Answer[Embeddings]:
    """Texts to vectors."""
    many = sum(len(each) for each in request.input if isinstance(each, list)) > _MANY_IDS
    max_bytes = work.settings.max_body_bytes
    params = await asyncio.to_thread(request.params, max_bytes) if many else request.params(max_bytes)
    output_type, encoding = request.output_type, request.encoding
    embedded = await work.embed(params)
    return await write_vectors(embedded.result, lambda: embeddings_of(embedded, encoding, output_type))


def embeddings_of(embedded: Embedded, encoding: Encoding = "float", output_type: OutputType = "float") -> Embeddings:
    """The content of the response."""
    rows = encode_rows(quantize(embedded.result.vectors, output_type), encoding)
    content: Embeddings = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": embedded.model,
        "usage": _usage(embedded.result.prompt_tokens),
    }
    if embedded.warnings:
        content["warnings"] = embedded.warnings
    return content


async def rerank_v1(work: Work, request: RerankRequest, headers: Mapping[str, str]) -> Answer[Ranking]:
    """POST /v1/rerank."""
    return await rerank(work, request, client_library(headers))


async def rerank_alias(work: Work, request: RerankRequest, _: Mapping[str, str]) -> Answer[Ranking]:
    """POST /rerank, for clients of infinity; they expect the documented response."""
    return await rerank(work, request, None)


async def rerank(work: Work, request: RerankRequest, client: ClientLibrary | None) -> Answer[Ranking]:
    """Documents by relevance, in the form that `client` expects."""
    started = time.perf_counter()
    params = request.params()
    documents = None
    if request.return_documents:
        documents = await write_documents(request.documents, as_objects=client is not None)
    ranked = await work.rank(params)
    return await write_answer(
        lambda: ranking_of(
            ranked,
            documents=documents,
            processing_time_ms=(time.perf_counter() - started) * 1000,
            as_data=request.from_voyage or client == "litellm",
            api_version="v1" if client is None else {"version": "1"},
        ),
        large=documents is not None and are_large(params.documents),
    )


def ranking_of(
    ranked: Ranked,
    *,
    documents: Sequence[orjson.Fragment | str] | None,
    processing_time_ms: float,
    as_data: bool = False,
    api_version: Literal["v1"] | ApiVersion = "v1",
) -> Ranking:
    """The content of the response; `as_data`: also with the results under Voyage's name."""
    results = ranked_documents(ranked.order, documents)
    meta: RankingMeta = {
        "api_version": api_version,
        "processing_time_ms": round(processing_time_ms, 3),
        "total_documents": len(ranked.result.scores),
        "returned_documents": len(results),
    }
    if ranked.warnings:
        meta["warnings"] = ranked.warnings
    content: Ranking = {
        "id": str(uuid.uuid4()),
        "model": ranked.model,
        "results": results,
        "usage": _usage(ranked.result.prompt_tokens),
        "meta": meta,
    }
    if as_data:
        content |= {"object": "list", "data": results}
    return content


async def tokenize(work: Work, request: TokenizeRequest, _: Mapping[str, str]) -> Answer[TokenCounts]:
    """POST /v1/tokenize."""
    params = request.params()
    counts = await work.counting.count(params)
    content: TokenCounts = {
        "object": "list",
        "model": counts.model,
        "data": [
            {"object": "token_count", "index": index, "tokens": count, "fits": count <= counts.max_tokens}
            for index, count in enumerate(counts.counts)
        ],
        "max_tokens": counts.max_tokens,
        "special_tokens": counts.special_tokens,
        "usage": _usage(sum(counts.counts)),
    }
    if params.warnings:
        content["warnings"] = list(params.warnings)
    return answer(content)


async def list_models(context: Context, _: Request) -> Answer[OpenAIModels]:
    """GET /v1/models."""
    return answer({"object": "list", "data": [_model(spec) for spec in context.catalog]})


async def get_model(context: Context, request: Request) -> Answer[OpenAIModel]:
    """GET /v1/models/{name}; the name may contain a slash."""
    return answer(_model(context.catalog.get(request.params["name"])))


def _model(spec: ModelSpec) -> OpenAIModel:
    return {"id": spec.name, "object": "model", "created": 0, "owned_by": spec.repo.split("/")[0]}


def _usage(tokens: int) -> Usage:
    """Token usage; all tokens are prompt tokens, because nothing is generated."""
    return {"prompt_tokens": tokens, "total_tokens": tokens}
