"""Texts to unit vectors: the path of an embedding request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from errors import InvalidRequestError
from runners.contracts import DEFAULT_EMBEDDING_OPTIONS, EmbeddingOptions, EmbeddingResult, Input, Truncate
from runners.engine import Encoded, Engine
from runners.networks.pooling import normalize, truncate


class EmbeddingRunner:
    """Runs one embedding model."""

    def __init__(self, engine: Engine, dimensions: int) -> None:
        self.engine = engine
        self.dimensions = dimensions

    async def embed(
        self, inputs: Sequence[Input], options: EmbeddingOptions = DEFAULT_EMBEDDING_OPTIONS, *, prompt: str = ""
    ) -> EmbeddingResult:
        """N inputs, each after `prompt`, to vectors (N, D) in the same order. Equal inputs are computed once.

        InvalidRequestError if `options.dimensions` exceeds the model's, or a token id is unknown; InputTooLongError,
        which names the input, if an input is too long and `options.truncate` is "refuse".
        """
        self._check_dimensions(options)
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
        pooled = await self.engine.run(encoded.sequences, options.priority, encoded.timings)  # (U, H), U unique inputs
        vectors = truncate(pooled, options.dimensions)
        if options.normalized:
            vectors = normalize(vectors)
        if len(unique) < len(inputs):
            vectors = vectors[np.array(places, dtype=np.intp)]
        return EmbeddingResult(vectors, encoded.tokens, encoded.truncated, encoded.timings)

    async def _encode(self, inputs: Sequence[Input], prompt: str, truncate: Truncate) -> Encoded:
        texts = [each for each in inputs if isinstance(each, str)]
        if len(texts) == len(inputs):
            return await self.engine.encode_texts(texts, prompt, truncate)
        return await self.engine.encode_ids([each for each in inputs if isinstance(each, tuple)], prompt, truncate)

    def _check_dimensions(self, options: EmbeddingOptions) -> None:
        if options.dimensions is not None and not 1 <= options.dimensions <= self.dimensions:
            raise InvalidRequestError(
                f"{options.dimensions_name} must be between 1 and {self.dimensions}, the width of this model's "
                "vectors.",
                param=options.dimensions_name,
            )
