"""A query and documents to scores: the path of a rerank request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from runners.contracts import DEFAULT_RERANK_OPTIONS, QUERY, EmbeddingOptions, RerankOptions, RerankResult
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


class CosineReranker:
    """Reranks with an embedding model: (1 + cosine) / 2, with a prompt for each side."""

    def __init__(self, runner: EmbeddingRunner, *, query_prompt: str, document_prompt: str) -> None:
        self._runner = runner
        self._query_prompt = query_prompt
        self._document_prompt = document_prompt

    async def rerank(
        self, query: str, documents: Sequence[str], options: RerankOptions = DEFAULT_RERANK_OPTIONS
    ) -> RerankResult:
        """Score each document by the cosine of its vector and the query's."""
        embedding = EmbeddingOptions(
            truncate="start" if options.truncate == "start" else "end", priority=options.priority
        )
        texts, shortened = await self._runner.engine.shorten(documents, options.max_document_tokens)
        left = await self._runner.embed([query], embedding, prompt=self._query_prompt)
        right = await self._runner.embed(texts, embedding, prompt=self._document_prompt)
        truncated = right.truncated + [replace(each, index=QUERY) for each in left.truncated]
        if truncated and options.truncate == "refuse":
            first = truncated[0]
            raise too_long("query" if first.index == QUERY else f"{options.documents_name}.{first.index}", first)
        truncated = list({each.index: each for each in (*shortened, *truncated)}.values())
        cosines = right.vectors.astype(np.float64) @ left.vectors[0].astype(np.float64)
        left.timings.add(right.timings)
        tokens = left.prompt_tokens + right.prompt_tokens
        return RerankResult(np.clip((1 + cosines) / 2, 0, 1), cosines, tokens, truncated, left.timings)
