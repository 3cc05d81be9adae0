"""Cohere's words: /v1/embed, /v1/tokenize, /v2/embed and /v2/rerank, as its SDKs and langchain-cohere speak them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import Field
from starlette.responses import Response

from api.encodings import EmbeddingType, encode_rows, quantize
from api.endpoints import Embedded, Endpoints
from api.fields import (
    AnyText,
    Body,
    Count,
    Documents,
    FieldNames,
    Flag,
    Items,
    ModelName,
    Positive,
    Priority,
    Text,
    TextOrObject,
    Texts,
    Truncation,
    document_texts,
)
from api.ignored import EMBEDDING_FIELDS, RERANK_FIELDS
from api.params import CountParams, EmbeddingParams, RerankParams
from api.responses import JSON, LARGE_ANSWER, response_of, returned, vectors_response
from errors import InvalidRequestError
from runners.contracts import EmbeddingOptions, RerankOptions
from runners.text.plain_tokenizers import Token

PRIORITY = "0 (the default) is served first, 999 last."

MAX_TOKENS_PER_DOC = 4096
"""Cohere's default."""
_DOCUMENTS_PER_SEARCH_UNIT = 100
"""Cohere's definition of its unit."""


class CohereContent(Body):
    """A part of an input of /v2/embed; only text is read."""

    type: str = Field("text", description="text; images are refused.")
    text: Text | None = Field(None, description="The text.")


class CohereInput(Body):
    """An input of /v2/embed in its longer form."""

    content: Annotated[list[CohereContent], Items()] = Field(description="Its parts, joined by a line break.")


CohereInputs = Annotated[list[CohereInput], Items("max_inputs", least=0)]


class CohereEmbedRequest(Body):
    """POST /v1/embed and /v2/embed."""

    refused: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of an embedding model.")
    texts: Texts | None = Field(None, description="The texts.")
    inputs: CohereInputs | None = Field(None, description="The texts in Cohere's longer form, instead of texts.")
    input_type: str | None = Field(None, description="search_query, search_document, classification or clustering.")
    embedding_types: Annotated[list[EmbeddingType], Items(least=0)] | None = Field(
        None, description="What the numbers are. Default: float."
    )
    output_dimension: Positive | None = Field(None, description="Cut the vectors to this many dimensions.")
    truncate: Truncation | None = Field(None, description="NONE, START or END (the default).")
    priority: Priority | None = Field(None, description=PRIORITY)

    def params(self) -> EmbeddingParams:
        """The common form."""
        if (self.texts is None) == (self.inputs is None):
            raise InvalidRequestError(
                "Send the texts to embed as texts, or as inputs with text content.", param="texts"
            )
        inputs = self.texts if self.inputs is None else [_text(each, i) for i, each in enumerate(self.inputs)]
        if not inputs:
            raise InvalidRequestError("texts must hold one text or more.", param="texts")
        options = EmbeddingOptions(
            input_type=self.input_type,
            dimensions=self.output_dimension,
            truncate=self.truncate or "end",
            priority=self.priority or 0,
            input_name="inputs" if self.texts is None else "texts",
            dimensions_name="output_dimension",
        )
        return EmbeddingParams(self.model, inputs, options, self.warnings())


class CohereRerankRequest(Body):
    """POST /v2/rerank."""

    refused: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of a reranker or embedding model.")
    query: TextOrObject = Field(description="What the documents are ranked by.")
    documents: Documents = Field(description="The texts to rank, or objects with the key text.")
    rank_fields: FieldNames | None = Field(
        None, description="Keys of the documents' objects that are read, as on /v1/rerank. Default: text."
    )
    top_n: Count | None = Field(None, description="How many results to return; null or 0: all.")
    max_tokens_per_doc: Positive | None = Field(
        None, description=f"Read only so many tokens of each document. Default: {MAX_TOKENS_PER_DOC}, as at Cohere."
    )
    return_documents: Flag | None = Field(
        None, description="Whether each result holds its document, as in early versions of this API. Default: false."
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


class CohereTokenizeRequest(Body):
    """POST /v1/tokenize with `text`."""

    model: ModelName | None = Field(None, description="Any model that is not forwarded; default: the embedding model.")
    text: AnyText = Field(description="The text.")


async def tokenize(endpoints: Endpoints, request: CohereTokenizeRequest, _: Mapping[str, str]) -> Response:
    """POST /v1/tokenize with `text`: its tokens without special ones."""
    params = CountParams(model=request.model, inputs=[request.text], input_name="text", special_tokens=False)
    meta = {"api_version": {"version": "1"}} | ({"warnings": warnings} if (warnings := request.warnings()) else {})

    def write(tokens: list[Token]) -> bytes:
        ids, texts = [token.id for token in tokens], [token.text for token in tokens]
        return orjson.dumps({"tokens": ids, "token_strings": texts, "meta": meta})

    (body,) = await endpoints.counting.tokens(params, write)
    return Response(body, media_type=JSON)


async def embed_v1(endpoints: Endpoints, request: CohereEmbedRequest, _: Mapping[str, str]) -> Response:
    """POST /v1/embed: a plain list of vectors where no types are named."""
    response_type = "embeddings_floats" if request.embedding_types is None else "embeddings_by_type"
    return await _embed_response(await endpoints.embed(request.params()), request, "1", response_type)


async def embed_v2(endpoints: Endpoints, request: CohereEmbedRequest, _: Mapping[str, str]) -> Response:
    """POST /v2/embed: vectors by their type."""
    return await _embed_response(await endpoints.embed(request.params()), request, "2", "embeddings_by_type")


async def rerank_v2(endpoints: Endpoints, request: CohereRerankRequest, _: Mapping[str, str]) -> Response:
    """POST /v2/rerank."""
    params = request.params()
    documents = await returned(request.documents, as_objects=True) if request.return_documents else None
    answer = await endpoints.rank(params)
    units = -(-len(request.documents) // _DOCUMENTS_PER_SEARCH_UNIT)
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": score} for index, score in answer.order]
    if documents is not None:
        for result in results:
            result["document"] = documents[result["index"]]
    content = {
        "id": str(uuid.uuid4()),
        "results": results,
        "meta": _meta("2", {"search_units": units}, answer.result.prompt_tokens, answer.warnings),
    }
    large = documents is not None and sum(map(len, params.documents)) >= LARGE_ANSWER
    return await response_of(lambda: orjson.dumps(content), large=large)


async def _embed_response(
    embedded: Embedded, request: CohereEmbedRequest, version: str, response_type: str
) -> Response:
    tokens = embedded.result.prompt_tokens
    tail = {
        "id": str(uuid.uuid4()),
        "response_type": response_type,
        "texts": request.texts or [],
        "meta": _meta(version, {"input_tokens": tokens}, tokens, embedded.warnings),
    }

    def write() -> bytes:
        if response_type == "embeddings_floats":
            vectors = encode_rows(embedded.result.vectors)
        else:
            types = list[EmbeddingType](dict.fromkeys(request.embedding_types or ("float",)))
            vectors = b"{%b}" % b",".join(b'"%b":%b' % (each.encode(), _rows(embedded, each)) for each in types)
        return b'{"embeddings":%b,%b' % (vectors, orjson.dumps(tail)[1:])

    return await vectors_response(embedded.result, write)


def _rows(embedded: Embedded, embedding_type: EmbeddingType) -> bytes:
    vectors = embedded.result.vectors
    if embedding_type == "base64":
        return encode_rows(vectors, "base64")
    return encode_rows(quantize(vectors, embedding_type))


def _meta(version: str, units: dict[str, int], tokens: int, warnings: list[str]) -> dict[str, Any]:
    meta = {"api_version": {"version": version}, "billed_units": units, "tokens": {"input_tokens": tokens}}
    return meta | ({"warnings": warnings} if warnings else {})


def _text(given: CohereInput, index: int) -> str:
    """The text of an input; InvalidRequestError for images."""
    if any(part.text is None for part in given.content):
        raise InvalidRequestError(
            f"inputs.{index} has content that is no text; the models here read text only.", param=f"inputs.{index}"
        )
    return "\n".join(part.text for part in given.content if part.text is not None)
