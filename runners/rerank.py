"""A query and documents to scores: the path of a rerank request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from errors import InvalidRequestError
from runners.contracts import (
    DEFAULT_RERANK_OPTIONS,
    QUERY,
    EmbeddingOptions,
    EmbeddingResult,
    Output,
    Reranker,
    RerankOptions,
    RerankResult,
    Scores,
    TruncatedInput,
)
from runners.embedding import EmbeddingRunner
from runners.engine import Engine, too_long
from runners.networks.pooling import sigmoid


class RerankRunner:
    """Runs one cross-encoder. `instruction` is the default of a prompted model."""

    def __init__(self, engine: Engine, instruction: str = "") -> None:
        self.engine = engine
        self._instruction = instruction

    async def rerank(
        self, query: str, documents: Sequence[str], options: RerankOptions = DEFAULT_RERANK_OPTIONS
    ) -> RerankResult:
        """Score each document against the query. Equal documents are computed once."""
        unique = list(dict.fromkeys(documents))
        place = {text: index for index, text in enumerate(unique)}
        places = [place[text] for text in documents]
        texts, shortened = await self.engine.shorten(unique, options.max_document_tokens)
        instruction = options.instruction or self._instruction
        encoded = await self.engine.encode_pairs(query, texts, instruction, options.truncate)
        encoded.truncated = [*shortened, *encoded.truncated]
        encoded.expand(places)
        if options.truncate == "refuse":
            encoded.refuse_truncated(options.documents_name)
        logits = (await self.engine.run(encoded.sequences, options.priority, encoded.timings))[:, 0]  # (U,)
        raw = logits[np.array(places, dtype=np.intp)]
        return RerankResult(sigmoid(raw), raw.astype(np.float64), encoded.tokens, encoded.truncated, encoded.timings)


@dataclass(frozen=True)
class _Sides:
    """The embedded query and documents, and the inputs that were truncated."""

    query: EmbeddingResult
    documents: EmbeddingResult
    truncated: list[TruncatedInput]

    def result(self, scores: Scores, raw: Scores) -> RerankResult:
        """The result with these scores, which are bounded to 0..1."""
        self.query.timings.add(self.documents.timings)
        tokens = self.query.prompt_tokens + self.documents.prompt_tokens
        return RerankResult(np.clip(scores, 0, 1), raw, tokens, self.truncated, self.query.timings)


class _TwoSided:
    """Embeds the query and the documents of a request, with a prompt for each side."""

    def __init__(self, runner: EmbeddingRunner, *, query_prompt: str, document_prompt: str) -> None:
        self._runner = runner
        self._query_prompt = query_prompt
        self._document_prompt = document_prompt

    async def _embed(self, query: str, documents: Sequence[str], options: RerankOptions, output: Output) -> _Sides:
        """One output of the query and of the documents."""
        embedding = EmbeddingOptions(
            truncate="start" if options.truncate == "start" else "end", priority=options.priority, outputs=(output,)
        )
        texts, shortened = await self._runner.engine.shorten(documents, options.max_document_tokens)
        left = await self._runner.embed([query], embedding, prompt=self._query_prompt)
        right = await self._runner.embed(texts, embedding, prompt=self._document_prompt)
        truncated = right.truncated + [replace(each, index=QUERY) for each in left.truncated]
        if truncated and options.truncate == "refuse":
            first = truncated[0]
            raise too_long("query" if first.index == QUERY else f"{options.documents_name}.{first.index}", first)
        return _Sides(left, right, list({each.index: each for each in (*shortened, *truncated)}.values()))


class CosineReranker(_TwoSided):
    """Reranks with an embedding model: (1 + cosine) / 2, with a prompt for each side."""

    async def rerank(
        self, query: str, documents: Sequence[str], options: RerankOptions = DEFAULT_RERANK_OPTIONS
    ) -> RerankResult:
        """Score each document by the cosine of its vector and the query's."""
        sides = await self._embed(query, documents, options, "dense")
        cosines = sides.documents.dense.astype(np.float64) @ sides.query.dense[0].astype(np.float64)
        return sides.result((1 + cosines) / 2, cosines)


class MaxSimReranker(_TwoSided):
    """Reranks with a multi-vector model, with a prompt for each side.

    The raw score is MaxSim: the sum, over the tokens of the query, of the largest cosine to a token of the document.
    The mean c over these tokens becomes the score (1 + c) / 2.
    """

    async def rerank(
        self, query: str, documents: Sequence[str], options: RerankOptions = DEFAULT_RERANK_OPTIONS
    ) -> RerankResult:
        """Score each document by MaxSim."""
        sides = await self._embed(query, documents, options, "multi_vector")
        assert sides.query.multi_vectors is not None
        assert sides.documents.multi_vectors is not None
        (asked,) = sides.query.multi_vectors
        sums = await asyncio.to_thread(
            lambda: np.array([max_sim(asked.vectors, each.vectors) for each in sides.documents.multi_vectors or ()])
        )
        return sides.result((1 + sums / max(1, len(asked.vectors))) / 2, sums)


def max_sim(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    """Sum of the largest cosine of each token of the query: (Q, D), (T, D), unit rows. 0 for a document without any."""
    return float((query @ document.T).max(axis=1).sum(dtype=np.float64)) if len(document) else 0.0


def embedding_reranker(runner: EmbeddingRunner, *, query_prompt: str, document_prompt: str) -> Reranker:
    """The reranker of an embedding model: by cosine if it has dense vectors, else by MaxSim.

    InvalidRequestError if it has neither.
    """
    if "dense" in runner.outputs:
        return CosineReranker(runner, query_prompt=query_prompt, document_prompt=document_prompt)
    if "multi_vector" in runner.outputs:
        return MaxSimReranker(runner, query_prompt=query_prompt, document_prompt=document_prompt)
    raise InvalidRequestError(
        "This model returns sparse vectors only and does not rerank. GET /models lists the rerankers.", param="model"
    )
