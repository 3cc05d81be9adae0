"""Cohere's API: /v1/embed, /v1/tokenize, /v2/embed and /v2/rerank, as its SDKs and langchain-cohere use it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from api.context import Context
from api.encodings import EmbeddingType, encode_rows, quantize
from api.field_types import (
    PRIORITY,
    AnyText,
    Count,
    Documents,
    FieldNames,
    Flag,
    Items,
    ModelName,
    Positive,
    Priority,
    RequestBody,
    Text,
    TextOrObject,
    Texts,
    TruncateField,
    document_texts,
)
from api.params import CountParams, EmbeddingParams, RerankParams
from api.responses import (
    Answer,
    ApiVersion,
    Document,
    FloatVector,
    Index,
    ResponseId,
    Score,
    Vector,
    Warnings,
    answer,
    are_large,
    ranked_documents,
    search_units,
    write_answer,
    write_documents,
    write_vectors,
    written_as,
)
from api.routing import Request
from api.unsupported_fields import EMBEDDING_FIELDS, RERANK_FIELDS
from api.work import Embedded, Work
from errors import InvalidRequestError
from runners.contracts import EmbeddingOptions, RerankOptions
from runners.text.plain_tokenizers import Token

MAX_TOKENS_PER_DOC = 4096
"""Cohere's default."""

# Request bodies


class CohereContent(RequestBody):
    """A part of an input of /v2/embed."""

    type: str = Field("text", description="text; images are rejected.")
    text: Text | None = Field(None, description="The text.")


class CohereInput(RequestBody):
    """An input of /v2/embed with several parts."""

    content: Annotated[list[CohereContent], Items()] = Field(description="Parts of the input, joined by line breaks.")


CohereInputs = Annotated[list[CohereInput], Items("max_inputs", least=0)]


class CohereEmbedRequest(RequestBody):
    """POST /v1/embed and /v2/embed."""

    unsupported: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of an embedding model.")
    texts: Texts | None = Field(None, description="Texts to embed.")
    inputs: CohereInputs | None = Field(None, description="Texts to embed as objects, instead of texts.")
    input_type: str | None = Field(None, description="search_query, search_document, classification or clustering.")
    embedding_types: Annotated[list[EmbeddingType], Items(least=0)] | None = Field(
        None, description="Data types of the numbers. Default: float."
    )
    output_dimension: Positive | None = Field(None, description="Truncate the vectors to this many dimensions.")
    truncate: TruncateField | None = Field(None, description="NONE, START or END (the default).")
    priority: Priority | None = Field(None, description=PRIORITY)

    def params(self) -> EmbeddingParams:
        """The common form."""
        if (self.texts is None) == (self.inputs is None):
            raise InvalidRequestError("Send either texts, or inputs with text content.", param="texts")
        inputs = self.texts if self.inputs is None else [_text(each, i) for i, each in enumerate(self.inputs)]
        if not inputs:
            raise InvalidRequestError("texts must have at least one text.", param="texts")
        options = EmbeddingOptions(
            input_type=self.input_type,
            dimensions=self.output_dimension,
            truncate=self.truncate or "end",
            priority=self.priority or 0,
            input_name="inputs" if self.texts is None else "texts",
            dimensions_name="output_dimension",
        )
        return EmbeddingParams(self.model, inputs, options, self.warnings())


class CohereRerankRequest(RequestBody):
    """POST /v2/rerank."""

    unsupported: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of a reranker or embedding model.")
    query: TextOrObject = Field(description="Query to rank the documents by.")
    documents: Documents = Field(description="Texts to rank, or objects with the key text.")
    rank_fields: FieldNames | None = Field(
        None, description="Keys to read from documents that are objects, as on /v1/rerank. Default: text."
    )
    top_n: Count | None = Field(None, description="Number of results to return. null or 0: all.")
    max_tokens_per_doc: Positive | None = Field(
        None,
        description=f"Maximum number of tokens to read from each document. Default: {MAX_TOKENS_PER_DOC} (Cohere's).",
    )
    return_documents: Flag | None = Field(
        None, description="Whether results include their documents (early versions of the API). Default: false."
    )
    priority: Priority | None = Field(None, description=PRIORITY)

    def params(self) -> RerankParams:
        """The common form."""
        documents = document_texts(self.documents, self.rank_fields)
        options = RerankOptions(
            max_document_tokens=self.max_tokens_per_doc or MAX_TOKENS_PER_DOC,
            top_n=self.top_n,
            priority=self.priority or 0,
        )
        return RerankParams(self.model, self.query, documents, options, self.warnings())


class CohereTokenizeRequest(RequestBody):
    """POST /v1/tokenize with `text`."""

    model: ModelName | None = Field(
        None, description="Any model that runs on this service. Default: the embedding model."
    )
    text: AnyText = Field(description="The text.")


def _text(given: CohereInput, index: int) -> str:
    """The text of an input; InvalidRequestError if it has other content."""
    if any(part.text is None for part in given.content):
        raise InvalidRequestError(
            f"inputs.{index} has content other than text; only text is supported.", param=f"inputs.{index}"
        )
    return "\n".join(part.text for part in given.content if part.text is not None)


# Answers


class CohereTokensMeta(TypedDict):
    """Facts about this response."""

    api_version: ApiVersion
    warnings: NotRequired[Warnings]


class ReadTokens(TypedDict):
    """Tokens that the model read."""

    input_tokens: Annotated[int, Field(description="Number of tokens in all inputs.")]


class CohereMeta(CohereTokensMeta):
    """Facts about this response."""

    billed_units: Annotated[
        dict[str, int],
        Field(description="What Cohere would bill: input_tokens, or search_units, one for each 100 documents."),
    ]
    tokens: ReadTokens


class CohereRankedDocument(TypedDict):
    """The score of one document."""

    index: Index
    relevance_score: Score
    document: NotRequired[
        Annotated[
            Document,
            written_as(dict[str, Any]),
            Field(description="Only if return_documents is true: an object with the key text."),
        ]
    ]


class CohereRanking(TypedDict):
    """Documents by relevance, best first."""

    id: ResponseId
    results: Annotated[
        list[CohereRankedDocument],
        Field(description="Best first. Documents with equal scores keep the order of the request."),
    ]
    meta: CohereMeta


class CohereEmbeddings(TypedDict):
    """Vectors in the order of the texts."""

    embeddings: Annotated[
        list[FloatVector] | dict[str, list[Vector]],
        Field(description="Vectors by type; a plain list on /v1/embed without embedding_types."),
    ]
    id: ResponseId
    response_type: Annotated[
        Literal["embeddings_floats", "embeddings_by_type"], Field(description="Which of the two embeddings has.")
    ]
    texts: Annotated[list[str], Field(description="The texts of the request.")]
    meta: CohereMeta


class CohereKey(TypedDict):
    """The answer to a request with a correct API key; requests without one get 401."""

    valid: Annotated[Literal[True], Field(description="Always true.")]


class CohereTokens(TypedDict):
    """The tokens of a text, without special tokens."""

    tokens: Annotated[orjson.Fragment, written_as(list[int]), Field(description="Their ids in the model's vocabulary.")]
    token_strings: Annotated[
        orjson.Fragment, written_as(list[str]), Field(description="The parts of the text that they represent.")
    ]
    meta: CohereTokensMeta


# Handlers


async def check_api_key(_context: Context, _: Request) -> Answer[CohereKey]:
    """POST /v1/check-api-key. The key is checked before, as for all routes."""
    return answer({"valid": True})


async def tokenize(work: Work, request: CohereTokenizeRequest, _: Mapping[str, str]) -> Answer[CohereTokens]:
    """POST /v1/tokenize with `text`."""
    params = CountParams(model=request.model, inputs=[request.text], input_name="text", special_tokens=False)
    meta: CohereTokensMeta = {"api_version": {"version": "1"}}
    if warnings := request.warnings():
        meta["warnings"] = warnings
    ((ids, texts),) = await work.counting.tokens(params, _write_tokens)
    return answer({"tokens": ids, "token_strings": texts, "meta": meta})


def _write_tokens(tokens: list[Token]) -> tuple[orjson.Fragment, orjson.Fragment]:
    ids, texts = [token.id for token in tokens], [token.text for token in tokens]
    return orjson.Fragment(orjson.dumps(ids)), orjson.Fragment(orjson.dumps(texts))


async def embed_v1(work: Work, request: CohereEmbedRequest, _: Mapping[str, str]) -> Answer[CohereEmbeddings]:
    """POST /v1/embed: without embedding_types a list of vectors."""
    return await _embed(work, request, version="1", by_type=request.embedding_types is not None)


async def embed_v2(work: Work, request: CohereEmbedRequest, _: Mapping[str, str]) -> Answer[CohereEmbeddings]:
    """POST /v2/embed: vectors by type."""
    return await _embed(work, request, version="2", by_type=True)


async def _embed(
    work: Work, request: CohereEmbedRequest, *, version: Literal["1", "2"], by_type: bool
) -> Answer[CohereEmbeddings]:
    embedded = await work.embed(request.params())
    vectors, tokens = embedded.result.dense, embedded.result.prompt_tokens

    def content() -> CohereEmbeddings:
        return {
            "embeddings": _by_type(embedded, request.embedding_types or ["float"]) if by_type else encode_rows(vectors),
            "id": str(uuid.uuid4()),
            "response_type": "embeddings_by_type" if by_type else "embeddings_floats",
            "texts": request.texts or [],
            "meta": _meta(version, {"input_tokens": tokens}, tokens, embedded.warnings),
        }

    return await write_vectors(embedded.result, content)


def _by_type(embedded: Embedded, types: list[EmbeddingType]) -> dict[str, list[orjson.Fragment]]:
    vectors = embedded.result.dense
    return {
        each: encode_rows(vectors, "base64") if each == "base64" else encode_rows(quantize(vectors, each))
        for each in types
    }


async def rerank_v2(work: Work, request: CohereRerankRequest, _: Mapping[str, str]) -> Answer[CohereRanking]:
    """POST /v2/rerank."""
    params = request.params()
    documents = await write_documents(request.documents, as_objects=True) if request.return_documents else None
    ranked = await work.rank(params)
    units = {"search_units": search_units(len(request.documents))}
    content: CohereRanking = {
        "id": str(uuid.uuid4()),
        "results": ranked_documents(ranked.order, documents),
        "meta": _meta("2", units, ranked.result.prompt_tokens, ranked.warnings),
    }
    large = documents is not None and are_large(params.documents)
    return await write_answer(lambda: content, large=large)


def _meta(version: Literal["1", "2"], units: dict[str, int], tokens: int, warnings: list[str]) -> CohereMeta:
    meta: CohereMeta = {
        "api_version": {"version": version},
        "billed_units": units,
        "tokens": {"input_tokens": tokens},
    }
    if warnings:
        meta["warnings"] = warnings
    return meta
