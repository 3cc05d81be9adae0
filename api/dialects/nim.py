"""NVIDIA NIM's rerank API: /v1/ranking and /v1/retrieval/{model}/reranking. Its embeddings are OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.field_types import Count, ModelName, Passages, RequestBody, TextOrObject, TruncateField
from api.params import RerankParams
from api.responses import Answer, Index, Usage, Warnings, answer, usage
from api.unsupported_fields import RERANK_FIELDS
from api.work import Work
from runners.contracts import RerankOptions


class NimRankingRequest(RequestBody):
    """POST /v1/ranking and /v1/retrieval/{model}/reranking."""

    unsupported: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of a reranker or embedding model.")
    query: TextOrObject = Field(description="Query to rank the passages by, as an object with the key text.")
    passages: Passages = Field(description="Texts to rank, as objects with the key text.")
    truncate: TruncateField | None = Field(
        None, description="NONE: reject pairs that are too long (400). Default: END."
    )
    top_k: Count | None = Field(None, description="Number of rankings to return. null or 0: all.")

    def params(self) -> RerankParams:
        """The common form."""
        options = RerankOptions(
            truncate=self.truncate or "end", top_n=self.top_k, raw_scores=True, documents_name="passages"
        )
        return RerankParams(self.model, self.query, self.passages, options, self.warnings())


class NimRankedPassage(TypedDict):
    """The score of one passage."""

    index: Index
    logit: Annotated[float, Field(description="The model's own score; the cosine if the model embeds texts.")]


class NimRanking(TypedDict):
    """Passages by relevance, best first."""

    rankings: Annotated[
        list[NimRankedPassage],
        Field(description="Best first. Passages with equal scores keep the order of the request."),
    ]
    usage: Usage
    warnings: NotRequired[Warnings]


async def ranking(work: Work, request: NimRankingRequest, _: Mapping[str, str]) -> Answer[NimRanking]:
    """POST /v1/ranking and /v1/retrieval/{model}/reranking."""
    ranked = await work.rank(request.params())
    content: NimRanking = {
        "rankings": [{"index": index, "logit": score} for index, score in ranked.order],
        "usage": usage(ranked.result.prompt_tokens),
    }
    if ranked.warnings:
        content["warnings"] = ranked.warnings
    return answer(content)
