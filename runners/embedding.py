"""Texts to unit vectors: the whole journey of an embedding request."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np

from errors import InvalidRequestError
from runners.engine import Engine
from runners.pooling import Floats, normalize, truncate
from runners.tokenization import Truncation


@dataclass(frozen=True)
class EmbeddingResult:
    """Unit vectors (N, D) in the order of the texts, what was counted and what was cut."""

    vectors: Floats
    prompt_tokens: int
    truncations: list[Truncation]


class EmbeddingRunner:
    """One embedding model at work."""

    def __init__(self, engine: Engine, dimensions: int) -> None:
        self.engine = engine
        self.dimensions = dimensions

    async def embed(
        self,
        texts: SequenceOf[str],
        *,
        prompt: str = "",
        dimensions: int | None = None,
        truncate_inputs: bool = True,
    ) -> EmbeddingResult:
        """Texts in, unit vectors (N, D) out, in the same order.

        InvalidRequestError where `dimensions` exceeds the model's; InputTooLongError where a text is too long and
        `truncate_inputs` is false.
        """
        self._check(dimensions)
        unique = list(dict.fromkeys(texts))
        place = {text: index for index, text in enumerate(unique)}
        encoded = await self.engine.encode_texts(unique, prompt)
        encoded.spread([place[text] for text in texts])
        if not truncate_inputs:
            encoded.refuse_truncation("input")
        pooled = await self.engine.run(encoded.sequences)  # (U, H), one row for each different text
        vectors = normalize(truncate(pooled, dimensions))
        order = np.fromiter((place[text] for text in texts), dtype=np.intp, count=len(texts))
        return EmbeddingResult(vectors[order], encoded.tokens, encoded.truncations)

    def _check(self, dimensions: int | None) -> None:
        if dimensions is not None and not 1 <= dimensions <= self.dimensions:
            raise InvalidRequestError(
                f"dimensions must be between 1 and {self.dimensions}, the width of this model's vectors.",
                param="dimensions",
            )
