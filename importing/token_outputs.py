"""The outputs of a model's probes, and their distances from those of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from importing.probes import Probe
from models.catalog import Output
from runners.contracts import SparseVector, TokenSequence, Wanted
from runners.embedding import EmbeddingRunner

Numbers = NDArray[np.float64]
Found = SparseVector | Numbers
"""A sparse vector, or rows: (1, D) of a text, (T, D) of its tokens."""


def outputs_of(
    runner: EmbeddingRunner, outputs: Sequence[Output], probes: Sequence[Probe], sequences: Sequence[TokenSequence]
) -> dict[Output, list[Found]]:
    """Outputs of each probe in one pass."""
    is_query = [probe.side == "query" for probe in probes]
    if runner.rules.query_table is not None and all(is_query):
        return {"sparse": [runner.looked_up(sequence) for sequence in sequences]}
    wanted = Wanted.of(outputs)
    results = runner.engine.local.run_now([replace(sequence, wanted=wanted) for sequence in sequences])
    assert isinstance(results, list)
    found: dict[Output, list[Found]] = {output: [] for output in outputs}
    for sequence, result, query in zip(sequences, results, is_query, strict=True):
        if result.dense is not None:
            found["dense"].append(result.dense[None].astype(np.float64))
        if result.sparse is not None:
            found["sparse"].append(result.sparse)
        if result.tokens is not None:
            rows = runner.token_vectors(sequence, result.tokens, is_query=query).vectors
            found["multi_vector"].append(rows.astype(np.float64))
    return found


def sparse_of(row: NDArray[Any]) -> SparseVector:
    """A row of a vocabulary as a sparse vector."""
    indices = np.flatnonzero(row).astype(np.int32)
    return SparseVector(indices, row[indices].astype(np.float32))


def distances(found: Found, expected: Found) -> Numbers:
    """The distance of each vector, scaled to length 1, from the expected one; infinity if the shapes differ."""
    if isinstance(found, SparseVector) and isinstance(expected, SparseVector):
        indices = np.union1d(found.indices, expected.indices)
        found, expected = (_filled(each, indices)[None] for each in (found, expected))
    if isinstance(found, SparseVector) or isinstance(expected, SparseVector) or found.shape != expected.shape:
        return np.array([np.inf])
    return np.asarray(np.linalg.norm(unit(found) - unit(expected), axis=1))


def _filled(vector: SparseVector, indices: NDArray[np.int32]) -> Numbers:
    row = np.zeros(len(indices))
    row[np.searchsorted(indices, vector.indices)] = vector.values
    return row


def unit(rows: Numbers) -> Numbers:
    """Unit rows in float64; a row of zeros stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1))
