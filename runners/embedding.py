"""Texts to unit vectors: the whole journey of an embedding request."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np

from errors import InvalidRequestError
from runners.engine import Encoded, Engine
from runners.networks.pooling import Floats, keep, normalize
from runners.text.tokenization import Truncate, Truncation
from runners.timings import Timings

Input = str | tuple[int, ...]
"""A text, or its token ids in the model's own vocabulary; a request holds one kind."""


@dataclass(frozen=True)
class EmbeddingResult:
    """Vectors (N, D) in the order of the inputs, what was counted and what was cut."""

    vectors: Floats
    prompt_tokens: int
    truncations: list[Truncation]
    timings: Timings = field(default_factory=Timings)


class EmbeddingRunner:
    """One embedding model at work."""

    def __init__(self, engine: Engine, dimensions: int) -> None:
        self.engine = engine
        self.dimensions = dimensions

    async def embed(
        self,
        inputs: SequenceOf[Input],
        *,
        prompt: str = "",
        dimensions: int | None = None,
        truncate: Truncate = "end",
        normalized: bool = True,
        field: str = "input",
        width_field: str = "dimensions",
        priority: int = 0,
    ) -> EmbeddingResult:
        """Inputs in, vectors (N, D) out, in the same order; of length 1, or with `normalized` false as they come.

        InvalidRequestError where `dimensions` exceeds the model's or a token id is unknown; InputTooLongError, which
        names the input by `field` and its index, where one is too long and `truncate` says refuse. Of waiting requests
        those with a low `priority` come first.
        """
        self._check(dimensions, width_field)
        if ids := [each for each in inputs if isinstance(each, tuple)]:
            await self.engine.refuse_unknown(ids, field)
        unique = list(dict.fromkeys(inputs))
        place = {each: index for index, each in enumerate(unique)}
        encoded = await self._encode(unique, prompt, truncate)
        places = [place[each] for each in inputs]
        encoded.refuse_empty(places, field)
        encoded.spread(places)
        if truncate == "refuse":
            encoded.refuse_truncation(field)
        pooled = await self.engine.run(
            encoded.sequences, priority, encoded.timings
        )  # (U, H), one row for each different input
        vectors = keep(pooled, dimensions)
        if normalized:
            vectors = normalize(vectors)
        return EmbeddingResult(
            vectors[np.array(places, dtype=np.intp)], encoded.tokens, encoded.truncations, encoded.timings
        )

    async def _encode(self, inputs: SequenceOf[Input], prompt: str, truncate: Truncate) -> Encoded:
        texts = [each for each in inputs if isinstance(each, str)]
        if len(texts) == len(inputs):
            return await self.engine.encode_texts(texts, prompt, truncate)
        return await self.engine.encode_ids([each for each in inputs if isinstance(each, tuple)], prompt, truncate)

    def _check(self, dimensions: int | None, field: str) -> None:
        if dimensions is not None and not 1 <= dimensions <= self.dimensions:
            raise InvalidRequestError(
                f"{field} must be between 1 and {self.dimensions}, the width of this model's vectors.",
                param=field,
            )
