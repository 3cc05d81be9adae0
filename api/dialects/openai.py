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

from api.access_log import request_id
from api.client_libraries import ClientLibrary, client_library
from api.context import Context
from api.encodings import EmbeddingType, Encoding, OutputType, encode_rows, quantize
from api.field_types import (
    PRIORITY,
    Chunks,
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
    Weight,
    as_inputs,
    document_texts,
    either,
)
from api.outputs import (
    MIN_WEIGHT,
    RETURN_TOKENS,
    TOP_K,
    SparseEmbedding,
    TokenEmbeddings,
    Tokens,
    sparse_embedding,
)
from api.params import CountParams, EmbeddingParams, RerankParams
from api.responses import (
    Answer,
    ApiVersion,
    Index,
    ListObject,
    ModelAsSent,
    RankedDocument,
    ResponseId,
    Score,
    Usage,
    Vector,
    Warnings,
    answer,
    are_large,
    ranked_documents,
    search_units,
    usage,
    write_answer,
    write_documents,
    write_vectors,
)
from api.routing import Request
from api.token_ids import decode
from api.unsupported_fields import EMBEDDING_FIELDS, RERANK_FIELDS
from api.work import Embedded, Ranked, Work
from errors import InvalidRequestError
from models.catalog import ModelSpec
from runners.contracts import EmbeddingOptions, Output, RerankOptions

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
    return_dense: Flag | None = Field(None, description="Whether to return the embedding of each text. Default: true.")
    return_sparse: Flag | None = Field(
        None,
        description="Whether to return sparse_embedding: weights of tokens, for models with sparse vectors. "
        "Default: false.",
    )
    return_colbert_vecs: Flag | None = Field(
        None,
        description="Whether to return colbert_vecs: a vector for each token, for models with multi-vectors. "
        "Default: false.",
    )
    top_k: Positive | None = Field(None, description=TOP_K)
    min_weight: Weight | None = Field(None, description=MIN_WEIGHT)
    return_tokens: Flag | None = Field(None, description=RETURN_TOKENS)
    late_chunking: Flag | None = Field(
        None,
        description="true: read all texts as one text, so that the vector of each depends on the others (Jina). "
        "Default: false.",
    )
    chunks: Chunks | None = Field(
        None,
        description="Late chunking of one text: the start and end of each chunk, in characters. The response has an "
        "embedding for each chunk.",
    )
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
            outputs=self._outputs(),
            top_k=self.top_k,
            min_weight=self.min_weight or 0,
            late_chunking=bool(self.late_chunking) or self.chunks is not None,
            spans=None if self.chunks is None else tuple(self.chunks),
        )
        own_ids = self.token_encoding == "model"  # noqa: S105  # not a password
        inputs = as_inputs(self.input) if own_ids else _decoded(self.input, max_bytes)
        return EmbeddingParams(self.model, inputs, options, self.warnings(), bool(self.return_tokens))

    def _outputs(self) -> tuple[Output, ...]:
        """The requested outputs; InvalidRequestError if there is none."""
        requested: dict[Output, bool] = {
            "dense": self.return_dense is not False,
            "sparse": bool(self.return_sparse),
            "multi_vector": bool(self.return_colbert_vecs),
        }
        if not any(requested.values()):
            raise InvalidRequestError(
                "return_dense is false: send return_sparse or return_colbert_vecs with it, or omit it.",
                param="return_dense",
            )
        return tuple(name for name, wanted in requested.items() if wanted)

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
    top_k: Count | None = Field(None, description="Voyage's name for top_n.")
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
    truncation: TruncateField | None = Field(None, description="Voyage's name for truncate.")
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


class Embedding(TypedDict):
    """The outputs for one text, or for one chunk."""

    object: Annotated[Literal["embedding"], Field(description="Always embedding.")]
    index: Index
    embedding: NotRequired[Vector]
    sparse_embedding: NotRequired[SparseEmbedding]
    colbert_vecs: NotRequired[TokenEmbeddings]
    colbert_tokens: NotRequired[Tokens]


class Embeddings(TypedDict):
    """Vectors in the order of the inputs."""

    object: ListObject
    data: Annotated[list[Embedding], Field(description="One entry for each input, or for each chunk.")]
    model: ModelAsSent
    usage: Usage
    id: Annotated[str, Field(description="Identifier of the request, as in the header X-Request-Id.")]
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


class RankedData(RankedDocument):
    """The score of one document, for clients of Voyage and Pinecone."""

    score: Annotated[Score, Field(description="Pinecone's name for relevance_score.")]


class RerankUsage(Usage):
    """Tokens by the model's own tokenizer, and what Pinecone would bill."""

    rerank_units: Annotated[int, Field(description="One for each 100 documents.")]


class Ranking(TypedDict):
    """Documents by relevance, best first."""

    id: ResponseId
    model: ModelAsSent
    results: Annotated[
        list[RankedDocument],
        Field(description="Best first. Documents with equal scores keep the order of the request."),
    ]
    usage: RerankUsage
    meta: RankingMeta
    object: ListObject
    data: Annotated[list[RankedData], Field(description="The results again, for clients of Voyage and Pinecone.")]


class TokenCount(TypedDict):
    """The number of tokens of one text."""

    object: Annotated[Literal["token_count"], Field(description="Always token_count.")]
    index: Index
    tokens: Annotated[int, Field(description="Number of tokens, with the prompt and special tokens.")]
    fits: Annotated[bool, Field(description="Whether the model can read all of them.")]


class TokenCounts(TypedDict):
    """The number of tokens of each text."""

    object: ListObject
    model: ModelAsSent
    data: Annotated[list[TokenCount], Field(description="One entry for each text.")]
    max_tokens: Annotated[int, Field(description="The model's limit, special tokens included.")]
    special_tokens: Annotated[int, Field(description="Number of special tokens that are added to each text.")]
    usage: Usage
    warnings: NotRequired[Warnings]


class OpenAIModel(TypedDict):
    """A model, as OpenAI describes it, with a field of Xinference and two of Cohere."""

    id: Annotated[str, Field(description="Short name.")]
    object: Annotated[Literal["model"], Field(description="Always model.")]
    created: Annotated[int, Field(description="Always 0.")]
    owned_by: Annotated[str, Field(description="Organization on the Hub.")]
    model_type: Annotated[Literal["embedding", "rerank"], Field(description="What it does, for clients of Xinference.")]
    name: Annotated[str, Field(description="Short name, for clients of Cohere.")]
    endpoints: Annotated[
        list[Literal["embed", "rerank"]], Field(description="The requests that may name it, for clients of Cohere.")
    ]


class OpenAIModels(TypedDict):
    """All models, as OpenAI lists them."""

    object: ListObject
    data: Annotated[list[OpenAIModel], Field(description="In the order of the catalogue.")]
    models: Annotated[list[OpenAIModel], Field(description="The same list, for clients of Cohere.")]


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
    content: Embeddings = {
        "object": "list",
        "data": _items(embedded, encoding, output_type),
        "model": embedded.model,
        "usage": usage(embedded.result.prompt_tokens),
        "id": request_id(),
    }
    if embedded.warnings:
        content["warnings"] = embedded.warnings
    return content


def _items(embedded: Embedded, encoding: Encoding, output_type: OutputType) -> list[Embedding]:
    """The requested outputs of each input."""
    result, strings = embedded.result, embedded.strings
    items: list[Embedding] = [{"object": "embedding", "index": index} for index in range(result.count)]
    if result.vectors is not None:
        rows = encode_rows(quantize(result.vectors, output_type), encoding)
        for item, row in zip(items, rows, strict=True):
            item["embedding"] = row
    for item, sparse in zip(items, result.sparse or (), strict=False):
        item["sparse_embedding"] = sparse_embedding(sparse, strings)
    for item, vectors in zip(items, result.multi_vectors or (), strict=False):
        item["colbert_vecs"] = encode_rows(quantize(vectors.vectors, output_type), encoding)
        if strings is not None:
            item["colbert_tokens"] = strings(vectors.token_ids.tolist())
    return items


async def rerank_v1(work: Work, request: RerankRequest, headers: Mapping[str, str]) -> Answer[Ranking]:
    """POST /v1/rerank."""
    client = client_library(headers)
    return await rerank(work, request, client, as_objects=client is not None)


async def rerank_alias(work: Work, request: RerankRequest, headers: Mapping[str, str]) -> Answer[Ranking]:
    """POST /rerank, for clients of infinity, which expect documents as they were sent."""
    return await rerank(work, request, client_library(headers))


async def rerank(
    work: Work, request: RerankRequest, client: ClientLibrary | None, *, as_objects: bool = False
) -> Answer[Ranking]:
    """Documents by relevance. `as_objects`: documents that were sent as strings are returned as objects."""
    started = time.perf_counter()
    params = request.params()
    documents = None
    if request.return_documents:
        documents = await write_documents(request.documents, as_objects=as_objects)
    ranked = await work.rank(params)
    return await write_answer(
        lambda: ranking_of(
            ranked,
            documents=documents,
            processing_time_ms=(time.perf_counter() - started) * 1000,
            api_version="v1" if client is None else {"version": "1"},
        ),
        large=documents is not None and are_large(params.documents),
    )


def ranking_of(
    ranked: Ranked,
    *,
    documents: Sequence[orjson.Fragment | str] | None,
    processing_time_ms: float,
    api_version: Literal["v1"] | ApiVersion = "v1",
) -> Ranking:
    """The content of the response."""
    results = ranked_documents(ranked.order, documents)
    meta: RankingMeta = {
        "api_version": api_version,
        "processing_time_ms": round(processing_time_ms, 3),
        "total_documents": len(ranked.result.scores),
        "returned_documents": len(results),
    }
    if ranked.warnings:
        meta["warnings"] = ranked.warnings
    return {
        "id": str(uuid.uuid4()),
        "model": ranked.model,
        "results": results,
        "usage": {**usage(ranked.result.prompt_tokens), "rerank_units": search_units(len(ranked.result.scores))},
        "meta": meta,
        "object": "list",
        "data": [{**result, "score": result["relevance_score"]} for result in results],
    }


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
        "usage": usage(sum(counts.counts)),
    }
    if params.warnings:
        content["warnings"] = list(params.warnings)
    return answer(content)


async def list_models(context: Context, _: Request) -> Answer[OpenAIModels]:
    """GET /v1/models."""
    models = [_model(spec) for spec in context.catalog]
    return answer({"object": "list", "data": models, "models": models})


async def get_model(context: Context, request: Request) -> Answer[OpenAIModel]:
    """GET /v1/models/{name}; the name may contain a slash."""
    return answer(_model(context.catalog.get(request.params["name"])))


def _model(spec: ModelSpec) -> OpenAIModel:
    ranks = spec.kind == "reranker"
    return {
        "id": spec.name,
        "object": "model",
        "created": 0,
        "owned_by": spec.repo.split("/")[0],
        "model_type": "rerank" if ranks else "embedding",
        "name": spec.name,
        "endpoints": ["rerank"] if ranks else ["embed", "rerank"],
    }
