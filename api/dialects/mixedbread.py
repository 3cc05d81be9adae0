"""Mixedbread's rerank API: /v1/reranking. Its embeddings are OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.field_types import (
    Count,
    Documents,
    FieldNames,
    Flag,
    Instruction,
    ModelName,
    RequestBody,
    TextOrObject,
    document_texts,
)
from api.params import RerankParams
from api.responses import (
    Answer,
    Document,
    Index,
    ListObject,
    ModelAsSent,
    Score,
    Usage,
    Warnings,
    are_large,
    usage,
    write_answer,
    write_documents,
)
from api.unsupported_fields import RERANK_FIELDS
from api.work import Work
from runners.contracts import RerankOptions


class MixedbreadRerankRequest(RequestBody):
    """POST /v1/reranking with `input`."""

    unsupported: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of a reranker or embedding model.")
    query: TextOrObject = Field(description="Query to rank the input by.")
    input: Documents = Field(description="Texts to rank, or objects with the key text.")
    rank_fields: FieldNames | None = Field(
        None, description="Keys to read from inputs that are objects, as on /v1/rerank. Default: text."
    )
    top_k: Count | None = Field(None, description="Number of results to return. null or 0: all.")
    return_input: Flag | None = Field(None, description="Whether results include their inputs. Default: false.")
    instruction: Instruction | None = Field(
        None, description="Task instruction that defines relevance, for models that take one."
    )

    def params(self) -> RerankParams:
        """The common form."""
        texts = document_texts(self.input, self.rank_fields, "input")
        options = RerankOptions(instruction=self.instruction, top_n=self.top_k, documents_name="input")
        return RerankParams(self.model, self.query, texts, options, self.warnings())


class MixedbreadRanked(TypedDict):
    """The score of one input."""

    index: Index
    score: Score
    input: NotRequired[
        Annotated[Document, Field(description="Only if return_input is true: a string or an object, as it was sent.")]
    ]
    object: Annotated[Literal["rank_result"], Field(description="Always rank_result.")]


class MixedbreadRanking(TypedDict):
    """Inputs by relevance, best first."""

    usage: Usage
    model: ModelAsSent
    data: Annotated[
        list[MixedbreadRanked], Field(description="Best first. Inputs with equal scores keep the order of the request.")
    ]
    object: ListObject
    top_k: Annotated[int, Field(description="Number of results in the response.")]
    return_input: Annotated[bool, Field(description="Whether results include their inputs.")]
    warnings: NotRequired[Warnings]


async def rerank(work: Work, request: MixedbreadRerankRequest, _: Mapping[str, str]) -> Answer[MixedbreadRanking]:
    """POST /v1/reranking with `input`."""
    params = request.params()
    returned = bool(request.return_input)
    inputs = await write_documents(request.input, as_objects=False, name="input") if returned else []
    ranked = await work.rank(params)
    results: list[MixedbreadRanked] = [
        {"index": index, "score": score, "object": "rank_result"} for index, score in ranked.order
    ]
    if returned:
        for result in results:
            result["input"] = inputs[result["index"]]
    content: MixedbreadRanking = {
        "usage": usage(ranked.result.prompt_tokens),
        "model": ranked.model,
        "data": results,
        "object": "list",
        "top_k": len(results),
        "return_input": returned,
    }
    if ranked.warnings:
        content["warnings"] = ranked.warnings
    return await write_answer(lambda: content, large=returned and are_large(params.documents))
