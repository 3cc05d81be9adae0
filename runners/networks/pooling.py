"""Pooling: token embeddings to one vector, with pure functions for both NumPy arrays and torch tensors.

Shapes: B texts, T tokens, H width. A mask is 1 for real tokens and 0 for padding, which is on the right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from runners.contracts import Rows, Scores, Vectors

_SMALLEST = np.finfo(np.float32).tiny

Array = Any
"""A NumPy array or a torch tensor: both have the operators used here."""


def cls_pool(token_embeddings: Array, _mask: Array) -> Array:
    """The first token: (B, T, H) -> (B, H)."""
    return token_embeddings[:, 0]


def mean_pool(token_embeddings: Array, mask: Array) -> Array:
    """Average the tokens that the mask keeps: (B, T, H), (B, T) -> (B, H).

    The result is zeros, not NaN, for a row whose mask is all zero.
    """
    weights = mask[..., None]
    return (token_embeddings * weights).sum(1) / weights.sum(1).clip(min=1)


def last_pool(token_embeddings: Array, mask: Array) -> Array:
    """The last token that the mask keeps: (B, T, H), (B, T) -> (B, H)."""
    ends = mask.cumsum(1) == mask.sum(1)[:, None]  # true from the last real token on
    last = ends * mask
    return (token_embeddings * last[..., None]).sum(1)


POOLINGS: dict[str, Callable[[Array, Array], Array]] = {"cls": cls_pool, "mean": mean_pool, "last": last_pool}
"""Name in the catalogue -> function."""


def truncate(vectors: Vectors, dimensions: int | None) -> Vectors:
    """Keep the first `dimensions` columns: (N, H) -> (N, D)."""
    return vectors if dimensions is None else vectors[:, :dimensions]


def normalize(vectors: Vectors) -> Vectors:
    """Scale each row to length 1: (N, D) -> (N, D). A row of zeros stays zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, np.newaxis]  # a third of the time of linalg.norm
    return np.asarray(vectors / np.maximum(lengths, _SMALLEST), dtype=np.float32)


def sigmoid(logits: Rows) -> Scores:
    """Logits to scores from 0 to 1, in float64 so that high and low scores do not tie: (N,) -> (N,)."""
    wide = logits.astype(np.float64)
    small = np.exp(-np.abs(wide))
    return np.asarray(np.where(wide >= 0, 1, small) / (1 + small))
