"""Expected numbers from a child process in the main environment, and their comparison."""

import json
from collections.abc import Sequence
from subprocess import Popen
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tests.tolerance import FLOAT32

ATOL = FLOAT32

Numbers = NDArray[Any]


class Reference:
    """sentence-transformers in a child process; see tests/clients/expected.py."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process
        self._known: dict[str, tuple[Numbers, int]] = {}

    def vectors(self, texts: Sequence[str], dimensions: int | None = None) -> Numbers:
        """(N, D), unit rows."""
        rows = np.asarray([vector for vector, _ in self._ask(texts)])[:, :dimensions]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    def tokens(self, texts: Sequence[str]) -> int:
        """Total number of tokens of the texts."""
        return sum(count for _, count in self._ask(texts))

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """(1 + cosine) / 2 of each document, in their order."""
        rows = self.vectors([query, *documents])
        return [float(score) for score in (1 + rows[1:] @ rows[0]) / 2]

    def ranking(self, query: str, documents: Sequence[str]) -> list[tuple[int, float]]:
        """(index, score), best first."""
        return sorted(enumerate(self.scores(query, documents)), key=lambda pair: -pair[1])

    def _ask(self, texts: Sequence[str]) -> list[tuple[Numbers, int]]:
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(new) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            for text, vector, count in zip(new, answer["vectors"], answer["tokens"], strict=True):
                self._known[text] = np.asarray(vector, np.float64), count
        return [self._known[text] for text in texts]


def assert_same_vectors(ours: ArrayLike, theirs: ArrayLike) -> None:
    """Equal in shape and, except for rounding, in value."""
    np.testing.assert_allclose(np.asarray(ours, np.float64), np.asarray(theirs, np.float64), rtol=0, atol=ATOL)


def assert_same_ranking(ours: Sequence[tuple[int, float]], theirs: Sequence[tuple[int, float]]) -> None:
    """The same documents in the same order and, except for rounding, the same scores."""
    assert [index for index, _ in ours] == [index for index, _ in theirs]
    assert_same_vectors([score for _, score in ours], [score for _, score in theirs])


def as_int8(vectors: Numbers) -> Numbers:
    """sentence-transformers' `quantize_embeddings` with each vector's own range, -a to a."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.asarray(np.floor((vectors + largest) / (2 * largest / 255)) - 128, dtype=np.int8)


def assert_same_int8(ours: ArrayLike, vectors: Numbers) -> None:
    """Integers that differ by at most one, because of rounding errors."""
    numbers = np.asarray(ours)
    assert numbers.dtype.kind == "i"
    np.testing.assert_allclose(numbers, as_int8(vectors).astype(int), rtol=0, atol=1)


def assert_same_bits(ours: ArrayLike, vectors: Numbers) -> None:
    """One bit for each dimension: 1 if the number is positive, first dimension in the highest bit.

    Numbers close to 0 may have either sign: three dimensions of the model are 0 except for rounding.
    """
    bits = np.unpackbits(np.asarray(ours, np.uint8), axis=1)
    clear = np.abs(vectors) > ATOL
    np.testing.assert_array_equal(bits[clear], vectors[clear] > 0)
