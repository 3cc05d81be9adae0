"""Texts to unit vectors, sparse vectors and token vectors: the path of an embedding request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from errors import AnswerTooLargeError, InvalidRequestError
from models.catalog import Output
from models.facts import ModelFacts
from models.prompts import Prompt
from runners.contracts import (
    DEFAULT_EMBEDDING_OPTIONS,
    EmbeddingOptions,
    EmbeddingResult,
    Input,
    SparseVector,
    TextOutputs,
    Timings,
    TokenSequence,
    TokenVectors,
    Truncate,
    Vectors,
    Wanted,
)
from runners.engine import Encoded, Engine
from runners.late_chunking import chunks_of, mean_of_ranges
from runners.networks.pooling import normalize, truncate

LARGE_RESULT = 2**20
"""Results that may have as many numbers are put together on another thread."""
_NAMES: dict[Output | Literal["states"], str] = {
    "dense": "dense vectors",
    "sparse": "sparse vectors",
    "multi_vector": "token vectors (multi_vector)",
    "states": "states of tokens",
}


@dataclass(frozen=True)
class OutputRules:
    """What a model returns, and how outputs are made from what a pass computes."""

    outputs: tuple[Output, ...] = ("dense",)
    skipped_ids: tuple[int, ...] = ()
    """Tokens of documents that have no vectors."""
    without_first: bool = False
    """Whether the first token has no vector."""
    sparse_width: int = 0
    """Largest number of weights of a sparse vector; 0: one for each token of the text."""
    query_table: NDArray[np.float32] | None = None
    """(V,) sparse weights of tokens in queries, which need no pass."""
    has_states: bool = False
    """Whether the states of tokens before the pooling can be returned."""
    no_chunks: str | None = "its vectors are not the mean of its tokens"
    """Why the model does not support late chunking; None if it does."""

    @classmethod
    def of(cls, facts: ModelFacts, query_table: NDArray[np.float32] | None = None) -> OutputRules:
        """The rules of a stored model."""
        head = facts.multi_vector
        return cls(
            facts.outputs,
            head.skipped_ids if head else (),
            head is not None and head.without_first,
            facts.vocabulary if facts.sparse is not None and facts.sparse.kind == "vocabulary" else 0,
            query_table,
            facts.engine == "own" and "dense" in facts.outputs,
            _no_chunks(facts),
        )


def _no_chunks(facts: ModelFacts) -> str | None:
    if facts.engine != "own":
        return "it is run by sentence-transformers"
    if "dense" not in facts.outputs:
        return "it has no dense vectors"
    if facts.pooling != "mean":
        return "its vectors are not the mean of its tokens"
    if facts.dense or facts.mask_prompt:
        return "it changes the mean of its tokens"
    return None


class EmbeddingRunner:
    """Runs one embedding model."""

    def __init__(self, engine: Engine, dimensions: int, rules: OutputRules | None = None) -> None:
        self.engine = engine
        self.dimensions = dimensions
        self.rules = rules or OutputRules()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the model returns for a text."""
        return self.rules.outputs

    async def embed(
        self,
        inputs: Sequence[Input],
        options: EmbeddingOptions = DEFAULT_EMBEDDING_OPTIONS,
        *,
        prompt: str = "",
        max_numbers: int | None = None,
    ) -> EmbeddingResult:
        """N inputs, each after `prompt`, to `options.outputs` in the same order. Equal inputs are computed once.

        With `options.late_chunking`, to one vector for each chunk of one text. InvalidRequestError if the model does
        not have an output, `options.dimensions` exceeds its width, or a token id is unknown; InputTooLongError, which
        names the input, if an input is too long and `options.truncate` is "refuse"; AnswerTooLargeError if sparse
        vectors and token vectors may have more than `max_numbers` numbers.
        """
        self._check(options)
        if options.late_chunking or options.spans is not None:
            return await self._embed_chunks(inputs, options, prompt)
        if ids := [each for each in inputs if isinstance(each, tuple)]:
            await self.engine.refuse_unknown(ids, options.input_name)
        unique = list(dict.fromkeys(inputs))
        place = {each: index for index, each in enumerate(unique)}
        encoded = await self._encode(unique, prompt, options.truncate)
        places = [place[each] for each in inputs]
        encoded.refuse_empty(places, options.input_name)
        encoded.expand(places)
        if options.truncate == "refuse":
            encoded.refuse_truncated(options.input_name)
        if options.outputs == ("dense",):
            rows = await self.engine.run(
                encoded.sequences, options.priority, encoded.timings
            )  # (U, H), U unique inputs
            vectors = _vectors(rows, options)
            if len(unique) < len(inputs):
                vectors = vectors[np.array(places, dtype=np.intp)]
            return EmbeddingResult(vectors, encoded.tokens, encoded.truncated, encoded.timings)
        numbers = self._most_numbers(len(inputs), encoded.tokens, options)
        if max_numbers is not None and numbers > max_numbers:
            raise AnswerTooLargeError(
                f"The response to {len(inputs)} inputs with {encoded.tokens} tokens may have {numbers} numbers; the "
                f"limit is {max_numbers} (MAX_OUTPUT_NUMBERS). Send fewer or shorter texts, or top_k or dimensions.",
                param=options.input_name,
            )
        found = await self._outputs(encoded, options, prompt)
        make = partial(self._result, found, encoded, places, options, is_query=_is_query(prompt))
        return await asyncio.to_thread(make) if numbers >= LARGE_RESULT else make()

    async def _outputs(self, encoded: Encoded, options: EmbeddingOptions, prompt: str) -> list[TextOutputs]:
        """What each of the unique inputs wants."""
        if self.rules.query_table is not None and _is_query(prompt):
            return [TextOutputs(sparse=self.looked_up(each)) for each in encoded.sequences]
        wanted = Wanted.of(options.outputs)
        sequences = [replace(each, wanted=wanted) for each in encoded.sequences]
        return await self.engine.outputs(sequences, options.priority, encoded.timings)

    def _result(
        self,
        found: Sequence[TextOutputs],
        encoded: Encoded,
        places: Sequence[int],
        options: EmbeddingOptions,
        *,
        is_query: bool,
    ) -> EmbeddingResult:
        """The outputs of all inputs, from those of the unique ones; `places[i]` is that of input i."""
        result = EmbeddingResult(None, encoded.tokens, encoded.truncated, encoded.timings)
        if "dense" in options.outputs:
            rows = np.stack([each.dense for each in found if each.dense is not None])
            result.vectors = _vectors(rows, options)[np.array(places, dtype=np.intp)]
        if "sparse" in options.outputs:
            sparse = [each.sparse.strongest(options.top_k, options.min_weight) for each in found if each.sparse]
            result.sparse = [sparse[place] for place in places]
        if "states" in options.outputs:
            states = [
                TokenVectors(each.states, np.array(sequence.input_ids, dtype=np.int32))
                for sequence, each in zip(encoded.sequences, found, strict=True)
                if each.states is not None
            ]
            result.multi_vectors = [states[place] for place in places]
        if "multi_vector" in options.outputs:
            tokens = [
                _narrowed(self.token_vectors(sequence, each.tokens, is_query=is_query), options.dimensions)
                for sequence, each in zip(encoded.sequences, found, strict=True)
                if each.tokens is not None
            ]
            result.multi_vectors = [tokens[place] for place in places]
        return result

    def looked_up(self, sequence: TokenSequence) -> SparseVector:
        """The weights of a query's tokens, each once, by the table of the model."""
        assert self.rules.query_table is not None
        indices = np.unique(np.array(sequence.input_ids, dtype=np.int32))
        weights = self.rules.query_table[indices]
        return SparseVector(indices[weights > 0], weights[weights > 0])

    def token_vectors(self, sequence: TokenSequence, vectors: NDArray[np.float32], *, is_query: bool) -> TokenVectors:
        """The tokens of a text that have vectors."""
        ids = np.array(sequence.input_ids, dtype=np.int32)
        kept = np.ones(len(ids), dtype=bool) if is_query else ~np.isin(ids, self.rules.skipped_ids)
        kept[0] &= not self.rules.without_first
        return TokenVectors(vectors[kept], ids[kept])

    async def _embed_chunks(self, inputs: Sequence[Input], options: EmbeddingOptions, prompt: str) -> EmbeddingResult:
        """Late chunking: one vector for each chunk of one text, the mean of the states of its tokens."""
        if self.rules.no_chunks is not None:
            raise InvalidRequestError(
                f"This model does not support late chunking: {self.rules.no_chunks}. Omit late_chunking, or choose a "
                "model with mean pooling.",
                param="late_chunking",
            )
        text, spans, names = chunks_of(inputs, options)
        started = time.perf_counter()
        tokenizer = self.engine.tokenizer
        (located,) = await self.engine.count([text], lambda part: tokenizer.locate(part[0], prompt, options.input_name))
        timings = Timings(tokenize_s=time.perf_counter() - started)
        ranges = located.find(spans, names)
        sequence = replace(located.sequence, wanted=Wanted.STATES)
        (found,) = await self.engine.outputs([sequence], options.priority, timings)
        assert found.states is not None
        rows = await asyncio.to_thread(mean_of_ranges, found.states, ranges)
        return EmbeddingResult(_vectors(rows, options), len(sequence), [], timings)

    async def _encode(self, inputs: Sequence[Input], prompt: str, truncate: Truncate) -> Encoded:
        texts = [each for each in inputs if isinstance(each, str)]
        if len(texts) == len(inputs):
            return await self.engine.encode_texts(texts, prompt, truncate)
        return await self.engine.encode_ids([each for each in inputs if isinstance(each, tuple)], prompt, truncate)

    def _check(self, options: EmbeddingOptions) -> None:
        available = [*self.outputs, *(["states"] if self.rules.has_states else [])]
        missing = [output for output in options.outputs if output not in available]
        if missing:
            raise InvalidRequestError(
                f"This model returns {' and '.join(_NAMES[each] for each in self.outputs)}, but no "
                f"{_NAMES[missing[0]]}. GET /models lists the outputs of each model.",
                param="model",
            )
        if options.dimensions is not None and not 1 <= options.dimensions <= self.dimensions:
            raise InvalidRequestError(
                f"{options.dimensions_name} must be between 1 and {self.dimensions}, the width of this model's "
                "vectors.",
                param=options.dimensions_name,
            )

    def _most_numbers(self, inputs: int, tokens: int, options: EmbeddingOptions) -> int:
        """Upper bound of the numbers in sparse vectors and token vectors, for inputs with this many tokens in total."""
        numbers = 0
        if "sparse" in options.outputs:
            weights = inputs * self.rules.sparse_width or tokens
            numbers += weights if options.top_k is None else min(weights, inputs * options.top_k)
        if "multi_vector" in options.outputs or "states" in options.outputs:
            numbers += tokens * (options.dimensions or self.dimensions)
        return numbers


def _vectors(rows: NDArray[np.float32], options: EmbeddingOptions) -> Vectors:
    """The first dimensions of each row, as a unit vector unless the request wants the model's own length."""
    vectors = truncate(rows, options.dimensions)
    return normalize(vectors) if options.normalized else vectors


def _narrowed(tokens: TokenVectors, dimensions: int | None) -> TokenVectors:
    """The first dimensions of each token's vector, as a unit vector."""
    return tokens if dimensions is None else replace(tokens, vectors=normalize(tokens.vectors[:, :dimensions]))


def _is_query(prompt: str) -> bool:
    return isinstance(prompt, Prompt) and prompt.side == "query"
