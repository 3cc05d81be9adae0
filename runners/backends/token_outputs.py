"""From the arrays of a pass to the outputs of each input."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.facts import SparseHead
from runners.contracts import SparseVector, TextOutputs, TokenSequence, TokenSequences, Wanted

Floats = NDArray[np.float32]


def all_wanted(sequences: TokenSequences) -> Wanted:
    """What a pass over these inputs computes: the union of what each wants."""
    wanted = Wanted(0)
    for sequence in sequences:
        wanted |= sequence.wanted
    return wanted


def bounds_of(sequences: TokenSequences) -> NDArray[np.int64]:
    """(B + 1,): where each of B sequences begins among all tokens."""
    return np.cumsum([0, *map(len, sequences)], dtype=np.int64)


def split(sequences: TokenSequences, found: Mapping[Wanted, Floats], head: SparseHead | None) -> list[TextOutputs]:
    """What each sequence wants, of the outputs of Network.outputs.

    Rows are copied, so that none keeps the arrays of the pass in memory.
    """
    results = []
    for text, (sequence, (start, end)) in enumerate(zip(sequences, pairwise(bounds_of(sequences)), strict=True)):
        part = _Part(found, sequence.wanted)
        sparse = None
        if (weights := part.get(Wanted.SPARSE)) is not None and head is not None:
            linear = head.kind == "linear"
            sparse = token_weights(sequence, weights[start:end], head) if linear else nonzero(weights[text], head)
        results.append(
            TextOutputs(
                part.copy(Wanted.DENSE, text),
                sparse,
                part.copy(Wanted.TOKENS, slice(start, end)),
                part.copy(Wanted.STATES, slice(start, end)),
            )
        )
    return results


class _Part:
    """The arrays of the outputs that one sequence wants."""

    def __init__(self, found: Mapping[Wanted, Floats], wanted: Wanted) -> None:
        self._found, self._wanted = found, wanted

    def get(self, output: Wanted) -> Floats | None:
        return self._found[output] if output in self._wanted else None

    def copy(self, output: Wanted, place: Any) -> Floats | None:
        array = self.get(output)
        return None if array is None else array[place].astype(np.float32)


def token_weights(sequence: TokenSequence, weights: Floats, head: SparseHead) -> SparseVector:
    """The largest weight of each token id: weights (T,) of the tokens of a text. NaN remains."""
    ids = np.array(sequence.input_ids, dtype=np.int32)
    kept = ~(weights <= 0) & ~np.isin(ids, head.ignored_ids)
    indices, inverse = np.unique(ids[kept], return_inverse=True)
    values = np.zeros(len(indices), dtype=np.float32)
    with np.errstate(invalid="ignore"):  # NaN is reported by TextOutputs.finite
        np.maximum.at(values, inverse, weights[kept])
    return SparseVector(indices, values)


def nonzero(weights: Floats, head: SparseHead) -> SparseVector:
    """The weights (V,) of a vocabulary that are not 0. NaN remains."""
    indices = np.flatnonzero(weights).astype(np.int32)
    if head.ignored_ids:
        indices = indices[~np.isin(indices, head.ignored_ids)]
    return SparseVector(indices, weights[indices].astype(np.float32))
