"""The two spines over a fake model: prompts, equal texts, counts, cuts and refusals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from errors import InputTooLongError, InvalidRequestError
from runners.contracts import EmbeddingOptions, RerankOptions, TruncatedInput
from runners.embedding import EmbeddingRunner
from runners.rerank import CosineReranker, RerankRunner
from tests.unit.fakes import FakeBackend, make_engine

WIDTH = 3


@pytest.fixture
def embedder() -> Iterator[EmbeddingRunner]:
    runner = EmbeddingRunner(make_engine(FakeBackend()), WIDTH)
    yield runner
    runner.engine.close()


@pytest.fixture
def reranker() -> Iterator[RerankRunner]:
    runner = RerankRunner(make_engine(FakeBackend(reranker=True)))
    yield runner
    runner.engine.close()


def expected(text: str, dimensions: int = WIDTH) -> list[float]:
    """The unit vector that FakeBackend, [CLS] = 100 and [SEP] = 102 make of a text."""
    vector = np.array([202 + sum(ord(letter) - 96 for letter in text), len(text) + 2, 1])[:dimensions]
    return (vector / np.sqrt((vector**2).sum())).tolist()  # type: ignore[no-any-return]


async def test_texts_to_unit_vectors_in_order(embedder: EmbeddingRunner) -> None:
    texts = ["a", "abc", "zz", "abc", "a", "hello"]
    result = await embedder.embed(texts)
    np.testing.assert_allclose(result.dense, [expected(text) for text in texts], rtol=1e-6)
    assert result.prompt_tokens == sum(len(text) + 2 for text in texts)
    assert result.truncated == []


async def test_equal_texts_are_computed_once_and_counted_each(embedder: EmbeddingRunner) -> None:
    result = await embedder.embed(["abc"] * 50)
    backend = embedder.engine.local.backend
    assert isinstance(backend, FakeBackend)
    assert sum(len(batch.input_ids) for batch in backend.batches) == 1
    assert (result.dense.shape, result.prompt_tokens) == ((50, WIDTH), 250)


async def test_a_prompt_stands_before_each_text_and_dimensions_are_cut_before_normalising(
    embedder: EmbeddingRunner,
) -> None:
    result = await embedder.embed(["c", "d"], EmbeddingOptions(dimensions=2), prompt="ab")
    np.testing.assert_allclose(result.dense, [expected("abc", 2), expected("abd", 2)], rtol=1e-6)
    assert result.prompt_tokens == 10


@pytest.mark.parametrize("dimensions", [0, -1, WIDTH + 1, 10**9])
async def test_dimensions_that_the_model_does_not_have(embedder: EmbeddingRunner, dimensions: int) -> None:
    with pytest.raises(InvalidRequestError, match="between 1 and 3") as raised:
        await embedder.embed(["a"], EmbeddingOptions(dimensions=dimensions))
    assert raised.value.param == "dimensions"


async def test_cut_texts_are_reported_at_every_place_or_refused(embedder: EmbeddingRunner) -> None:
    result = await embedder.embed(["a", "abcdefghij", "b", "abcdefghij"])
    assert result.truncated == [TruncatedInput(1, 12, 8), TruncatedInput(3, 12, 8)]
    np.testing.assert_allclose(result.dense[1], expected("abcdef"), rtol=1e-6)
    assert result.prompt_tokens == 3 + 8 + 3 + 8
    with pytest.raises(InputTooLongError, match=r"^input\.1 has 12 tokens, .* the model takes 8\.") as raised:
        await embedder.embed(["a", "abcdefghij"], EmbeddingOptions(truncate="refuse"))
    assert raised.value.param == "input.1"
    assert (await embedder.embed(["abcdef"], EmbeddingOptions(truncate="refuse"))).prompt_tokens == 8


async def test_pairs_to_scores_in_document_order(reranker: RerankRunner) -> None:
    documents = ["c", "a", "b", "a"]
    result = await reranker.rerank("a", documents)
    logits = [(100 + 1 + 101 + (ord(document) - 96) + 102) / 100 for document in documents]
    np.testing.assert_allclose(result.raw, logits, rtol=1e-6)
    np.testing.assert_allclose(result.scores, [1 / (1 + np.exp(-logit)) for logit in logits], rtol=1e-6)
    assert result.scores.dtype == np.float64
    assert result.prompt_tokens == 4 * 5


async def test_too_long_a_pair_is_cut_or_refused(reranker: RerankRunner) -> None:
    documents = ["a", "abcdefghij"]
    result = await reranker.rerank("a", documents)
    assert result.truncated == [TruncatedInput(1, 14, 8)]
    with pytest.raises(InputTooLongError, match=r"^documents\.1 has 14 tokens"):
        await reranker.rerank("a", documents, RerankOptions(truncate="refuse"))


async def test_cosine_of_an_embedder_as_score(embedder: EmbeddingRunner) -> None:
    cosine = CosineReranker(embedder, query_prompt="q", document_prompt="")
    documents = ["b", "abc"]
    result = await cosine.rerank("a", documents)
    query = np.array(expected("qa"))
    cosines = [float(query @ np.array(expected(document))) for document in documents]
    np.testing.assert_allclose(result.raw, cosines, rtol=1e-6)
    np.testing.assert_allclose(result.scores, [(1 + value) / 2 for value in cosines], rtol=1e-6)
    assert (result.scores <= 1).all()
    assert result.prompt_tokens == 4 + 3 + 5


async def test_cosine_reports_and_refuses_what_is_cut_on_either_side(embedder: EmbeddingRunner) -> None:
    cosine = CosineReranker(embedder, query_prompt="", document_prompt="")
    result = await cosine.rerank("abcdefghij", ["a", "abcdefghijk"])
    assert sorted(result.truncated, key=lambda cut: cut.index) == [TruncatedInput(-1, 12, 8), TruncatedInput(1, 13, 8)]
    with pytest.raises(InputTooLongError, match=r"^query has 12 tokens"):
        await cosine.rerank("abcdefghij", ["a"], RerankOptions(truncate="refuse"))
    with pytest.raises(InputTooLongError, match=r"^documents\.1 has 13 tokens"):
        await cosine.rerank("a", ["a", "abcdefghijk"], RerankOptions(truncate="refuse"))
