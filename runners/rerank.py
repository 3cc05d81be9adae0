"""A query and documents to scores: the whole journey of a rerank request."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runners.embedding import EmbeddingRunner
from runners.engine import Engine, too_long
from runners.networks.pooling import sigmoid
from runners.text.tokenization import Truncate, Truncation
from runners.timings import Timings

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class RerankResult:
    """A score in 0..1 for each document (N,), in the order of the documents; `raw` are the model's own numbers."""

    scores: Scores
    raw: Scores
    prompt_tokens: int
    truncations: list[Truncation]
    timings: Timings = field(default_factory=Timings)


@dataclass(frozen=True)
class RerankOptions:
    """How a request's texts are read, and when its turn comes."""

    truncate: Truncate = "end"
    max_document_tokens: int | None = None
    """At most so many tokens of a document are read."""
    field: str = "documents"
    """What a refusal calls the documents."""
    priority: int = 0
    """Of waiting requests those with a low one come first."""


DEFAULTS = RerankOptions()


class Reranker(Protocol):
    """Whatever can score documents: a cross-encoder, an embedder by cosine, a forwarded provider."""

    async def rerank(self, query: str, documents: SequenceOf[str], options: RerankOptions = DEFAULTS) -> RerankResult:
        """A score for each document.

        InputTooLongError, which names the document, where an input is too long and `options.truncate` says refuse.
        """
        ...


class RerankRunner:
    """One cross-encoder at work; `instruction` is for a model that is asked in words."""

    def __init__(self, engine: Engine, instruction: str = "") -> None:
        self.engine = engine
        self._instruction = instruction

    async def rerank(self, query: str, documents: SequenceOf[str], options: RerankOptions = DEFAULTS) -> RerankResult:
        """Score each document against the query; equal documents are computed once."""
        unique = list(dict.fromkeys(documents))
        place = {text: index for index, text in enumerate(unique)}
        texts, shortened = await self.engine.shorten(unique, options.max_document_tokens)
        encoded = await self.engine.encode_pairs(query, texts, self._instruction, options.truncate)
        encoded.truncations = [*shortened, *encoded.truncations]
        encoded.spread([place[text] for text in documents])
        if options.truncate == "refuse":
            encoded.refuse_truncation(options.field)
        logits = (await self.engine.run(encoded.sequences, options.priority, encoded.timings))[:, 0]  # (U,)
        order = np.fromiter((place[text] for text in documents), dtype=np.intp, count=len(documents))
        raw = logits[order]
        return RerankResult(sigmoid(raw), raw.astype(np.float64), encoded.tokens, encoded.truncations, encoded.timings)


class CosineReranker:
    """An embedding model used as a reranker: (1 + cosine) / 2, each side with its own prompt."""

    def __init__(self, runner: EmbeddingRunner, *, query_prompt: str, document_prompt: str) -> None:
        self._runner = runner
        self._query_prompt = query_prompt
        self._document_prompt = document_prompt

    async def rerank(self, query: str, documents: SequenceOf[str], options: RerankOptions = DEFAULTS) -> RerankResult:
        """Score each document by its vector's cosine to the query's."""
        cutting: Truncate = "start" if options.truncate == "start" else "end"
        embed = partial(self._runner.embed, truncate=cutting, priority=options.priority)
        texts, shortened = await self._runner.engine.shorten(documents, options.max_document_tokens)
        asked = await embed([query], prompt=self._query_prompt)
        found = await embed(texts, prompt=self._document_prompt)
        cut = found.truncations + [replace(cut, index=-1) for cut in asked.truncations]
        if cut and options.truncate == "refuse":
            raise too_long("query" if cut[0].index < 0 else f"{options.field}.{cut[0].index}", cut[0])
        cut = list({each.index: each for each in (*shortened, *cut)}.values())
        cosines = found.vectors.astype(np.float64) @ asked.vectors[0].astype(np.float64)
        tokens = asked.prompt_tokens + found.prompt_tokens
        asked.timings.add(found.timings)
        return RerankResult(np.clip((1 + cosines) / 2, 0, 1), cosines, tokens, cut, asked.timings)
