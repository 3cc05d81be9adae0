"""Late chunking: a text is read as a whole, and each of its chunks is pooled from the states of its own tokens.

Günther et al., Late Chunking: Contextual Chunk Embeddings Using Long-Context Embedding Models (2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from errors import InvalidRequestError
from runners.contracts import EmbeddingOptions, Input, Vectors

Span = tuple[int, int]
"""The first character of a chunk, and the one after its last."""


def chunks_of(inputs: Sequence[Input], options: EmbeddingOptions) -> tuple[str, list[Span], list[str]]:
    """The whole text of a request, the characters of each chunk, and the client's names for the chunks.

    InvalidRequestError for token ids, for other outputs than dense vectors, and for chunks outside the text.
    """
    name = options.input_name
    if options.outputs != ("dense",):
        raise InvalidRequestError(
            "Late chunking returns dense vectors only. Omit return_sparse and return_colbert_vecs.",
            param="late_chunking",
        )
    texts = [each for each in inputs if isinstance(each, str)]
    if len(texts) < len(inputs):
        raise InvalidRequestError(f"{name} must be text for late chunking, not token ids.", param=name)
    if options.spans is None:
        return *as_one(texts), [f"{name}.{index}" for index in range(len(texts))]
    if len(texts) > 1:
        raise InvalidRequestError(f"chunks are those of one text; {name} has {len(texts)} texts.", param=name)
    for index, (start, end) in enumerate(options.spans):
        if not 0 <= start < end <= len(texts[0]):
            raise InvalidRequestError(
                f"chunks.{index} must be a start and a larger end, in characters of the text, which has "
                f"{len(texts[0])}.",
                param=f"chunks.{index}",
            )
    return texts[0], list(options.spans), [f"chunks.{index}" for index in range(len(options.spans))]


def as_one(texts: Sequence[str]) -> tuple[str, list[Span]]:
    """The texts joined by spaces, and the characters of each."""
    starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])]).tolist()
    return " ".join(texts), [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]


def mean_of_ranges(states: NDArray[np.float32], ranges: NDArray[np.int64]) -> Vectors:
    """The mean of the states (T, H) in each of the ranges (N, 2) of tokens: (N, H). Each range has a token."""
    sums = np.concatenate([np.zeros((1, states.shape[1])), np.cumsum(states, axis=0, dtype=np.float64)])
    starts, ends = ranges.T
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts)[:, None], dtype=np.float32)
