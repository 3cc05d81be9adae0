"""Outputs of any length are bounded before a pass computes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from errors import AnswerTooLargeError
from runners.contracts import EmbeddingOptions
from runners.embedding import EmbeddingRunner, OutputRules
from tests.unit.fakes import FakeBackend, make_engine

TEXTS = ["ab", "cde", "ab"]
TOKENS = 4 + 5 + 4


@contextlib.contextmanager
def runner(backend: FakeBackend, *, sparse_width: int = 0) -> Iterator[EmbeddingRunner]:
    rules = OutputRules(outputs=("dense", "sparse", "multi_vector"), sparse_width=sparse_width)
    made = EmbeddingRunner(make_engine(backend), 3, rules)
    yield made
    made.engine.close()


@pytest.mark.parametrize(
    ("options", "sparse_width", "numbers"),
    [
        (EmbeddingOptions(outputs=("multi_vector",)), 0, TOKENS * 3),
        (EmbeddingOptions(outputs=("dense", "multi_vector"), dimensions=2), 0, TOKENS * 2),
        (EmbeddingOptions(outputs=("sparse",)), 0, TOKENS),
        (EmbeddingOptions(outputs=("sparse",)), 1000, 3 * 1000),
        (EmbeddingOptions(outputs=("sparse", "multi_vector"), top_k=7), 1000, 3 * 7 + TOKENS * 3),
    ],
)
async def test_a_request_for_too_many_numbers_is_rejected_before_a_pass(
    options: EmbeddingOptions, sparse_width: int, numbers: int
) -> None:
    backend = FakeBackend()
    message = rf"may have {numbers} numbers; the limit is {numbers - 1} \(MAX_OUTPUT_NUMBERS\)"
    with runner(backend, sparse_width=sparse_width) as made, pytest.raises(AnswerTooLargeError, match=message):
        await made.embed(TEXTS, options, max_numbers=numbers - 1)
    assert backend.batches == []


async def test_dense_vectors_have_no_such_limit() -> None:
    with runner(FakeBackend()) as made:
        assert (await made.embed(TEXTS, max_numbers=1)).dense.shape == (3, 3)
