"""What tests of shards share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from errors import InputTooLongError
from runners.contracts import EmbeddingResult


class FakeEmbedder:
    """Vectors that follow from the lengths of the texts."""

    model, revision = "tiny", "abc"
    error: InputTooLongError | None = None

    def __call__(self, texts: Sequence[str]) -> EmbeddingResult:
        if self.error:
            raise self.error
        return EmbeddingResult(np.array([[len(text), 0, 1] for text in texts], np.float32), 10 * len(texts), [])
