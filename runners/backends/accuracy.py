"""The accuracy gate: whether a faster way of computing a model gives the same results as the plain one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.facts import ModelFacts
from runners.contracts import Rows, TokenSequence

Floats = NDArray[np.floating[Any]]

MIN_COSINE = {"f32": 0.99999, "bf16": 0.999}
MAX_LOGIT_SHARE = {"f32": 0.01, "bf16": 0.05}
"""Largest difference of a logit, relative to the standard deviation of the probes' logits (at least 1)."""
EXACT = "exact"
"""Float32 with float32 weights: only the order of sums differs from torch."""
MAX_EXACT_SHARE = 1e-4
"""Largest difference in exact mode, relative to the largest number. At most 1e-5 was measured."""
PROBE_TOKENS = (3, 17, 64, 200, 511, 1024)


def probes(facts: ModelFacts) -> list[list[TokenSequence]]:
    """Three sequences for each probe length that the model takes: of the whole length, a half and a third of it.

    The ids are random, because only ways of computing are compared.
    """
    return [_probe(facts, tokens) for tokens in PROBE_TOKENS if tokens <= facts.max_tokens]


def _probe(facts: ModelFacts, tokens: int) -> list[TokenSequence]:
    ids = np.random.default_rng(tokens).integers(10, facts.vocabulary, size=(3, tokens), dtype=np.int64)
    lengths = (tokens, max(3, tokens // 2), max(3, tokens // 3))
    return [
        TokenSequence(row[:length].tolist(), [0] * length if facts.token_type_ids else None)
        for row, length in zip(ids, lengths, strict=True)
    ]


def difference(expected: Rows, found: Rows, precision: str, *, vectors: bool) -> str | None:
    """Compare rows computed in `precision` (exact, f32, bf16) with the expected ones.

    None if they are close enough, else a description of the difference. Vectors are compared by cosine, logits by
    their difference.
    """
    if not np.isfinite(found).all():
        return "NaN or infinity"
    if precision == EXACT:
        share = float(np.abs(expected - found).max() / np.abs(expected).max())
        return None if share <= MAX_EXACT_SHARE else f"numbers differ by {share:.2g} of the largest"
    if not vectors:
        share = float(np.abs(expected - found).max() / max(1.0, float(expected.std())))
        return None if share <= MAX_LOGIT_SHARE[precision] else f"logits differ by {share:.4f} of their spread"
    cosine = float(cosines(expected, found).min())
    return None if cosine >= MIN_COSINE[precision] else f"smallest cosine {cosine:.6f}"


def cosines(expected: Floats, found: Floats) -> Floats:
    """The cosine of each row to the row that it should equal: (N, D), (N, D) -> (N,)."""
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    return np.asarray((expected * found).sum(axis=1) / lengths)
