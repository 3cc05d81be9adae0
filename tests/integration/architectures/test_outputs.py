"""Sparse and multi-vector models of every layout, imported by name alone, equal sentence-transformers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from importing.describe import describe
from models.catalog import ModelSpec, Side
from models.prompts import choose_prompt
from models.store import ModelStore, StoredModel
from runners.contracts import EmbeddingOptions, EmbeddingResult, Output, RerankOptions, SparseVector
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.loading import load_model
from runners.rerank import embedding_reranker
from tests.conftest import made_once
from tests.integration.architectures.workshop import DEVICE, SETTINGS, import_folder
from tests.tiny import corpus, outputs

TEXTS = [
    "Mars is red.",
    "Which planet is known as the Red Planet?!",
    "a",
    "The planet, the red one (火星) - is far away...",
    " ".join(corpus.ENGLISH[:6]),
]
SIDES: tuple[Side, ...] = ("query", "document")
ATOL = 1e-3


@dataclass(frozen=True)
class Case:
    """An imported model and its reference."""

    name: str
    spec: ModelSpec
    stored: StoredModel
    loaded: LoadedModel
    reference: Any

    @property
    def runner(self) -> EmbeddingRunner:
        assert isinstance(self.loaded.runner, EmbeddingRunner)
        return self.loaded.runner

    @property
    def output(self) -> Output:
        (output,) = self.stored.facts.outputs
        return output

    async def embed(self, texts: list[str], side: Side, **options: Any) -> EmbeddingResult:
        prompt = choose_prompt(self.spec, input_type=side)
        return await self.runner.embed(texts, EmbeddingOptions(outputs=(self.output,), **options), prompt=prompt)

    def expected(self, texts: list[str], side: Side) -> list[Any]:
        encode = self.reference.encode_query if side == "query" else self.reference.encode_document
        if self.output == "multi_vector":
            return list(encode(texts, convert_to_numpy=True, show_progress_bar=False))
        return list(encode(texts, convert_to_sparse_tensor=False, show_progress_bar=False).numpy())


@pytest.fixture(scope="module", params=outputs.LAYOUTS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Each layout."""
    name = request.param
    original = made_once(tmp_path_factory, f"outputs-{name}", lambda folder: outputs.build(name, folder))
    block = ModelSpec(name=name, repo=f"tests/{name}", kind="embedding", from_repository=True)
    spec = describe(block, original)
    home = made_once(
        tmp_path_factory, f"outputs-home-{name}", lambda home: import_folder(spec, original, ModelStore(home))
    )
    stored = ModelStore(home).find(spec)
    assert stored is not None
    loaded = load_model(spec, stored, DEVICE, SETTINGS, measure=False)
    yield Case(name, spec, stored, loaded, outputs.reference(name, original))
    loaded.close()


def dense(vector: SparseVector, size: int) -> np.ndarray[Any, Any]:
    """A sparse vector with its zeros."""
    row = np.zeros(size, dtype=np.float32)
    row[vector.indices] = vector.values
    return row


def assert_equal(case: Case, result: EmbeddingResult, expected: list[Any]) -> None:
    """Equal numbers for the same tokens."""
    if case.output == "sparse":
        assert result.sparse is not None
        for vector, row in zip(result.sparse, expected, strict=True):
            assert (np.diff(vector.indices) > 0).all()
            assert (vector.values > 0).all()
            assert_allclose(dense(vector, len(row)), row, rtol=0, atol=ATOL)
        return
    assert result.multi_vectors is not None
    for found, rows in zip(result.multi_vectors, expected, strict=True):
        assert found.vectors.shape == rows.shape
        assert found.token_ids.shape == rows.shape[:1]
        assert_allclose(found.vectors, rows, rtol=0, atol=ATOL)


@pytest.mark.parametrize("side", SIDES)
async def test_outputs_equal_the_reference(case: Case, side: Side) -> None:
    """In one batch, and alone."""
    expected = case.expected(TEXTS, side)
    assert_equal(case, await case.embed(TEXTS, side), expected)
    for text, rows in zip(TEXTS, expected, strict=True):
        assert_equal(case, await case.embed([text], side), [rows])


def test_the_verification_at_import_compared_the_outputs(case: Case) -> None:
    verification = case.stored.facts.verification
    assert verification is not None
    assert not verification.problem
    assert verification.texts > 20
    assert verification.lowest_cosine is not None
    assert verification.lowest_cosine > 0.9999


async def test_reranking(case: Case) -> None:
    """By MaxSim, whose sum the reference computes; sparse models refuse."""
    prompts = {f"{side}_prompt": choose_prompt(case.spec, input_type=side) for side in SIDES}
    if case.output == "sparse":
        with pytest.raises(Exception, match="sparse vectors only"):
            embedding_reranker(case.runner, **prompts)
        return
    result = await embedding_reranker(case.runner, **prompts).rerank(TEXTS[1], TEXTS, RerankOptions())
    query = case.expected([TEXTS[1]], "query")
    sums = case.reference.similarity(query, case.expected(TEXTS, "document")).numpy()[0]
    assert_allclose(result.raw, sums, rtol=0, atol=ATOL * len(query[0]))
    assert_allclose(result.scores, (1 + sums / len(query[0])) / 2, rtol=0, atol=ATOL)


async def test_options_of_sparse_vectors(case: Case) -> None:
    if case.output != "sparse":
        pytest.skip("a multi-vector model")
    whole = await case.embed(TEXTS[:1], "document")
    assert whole.sparse is not None
    (vector,) = whole.sparse
    best = np.sort(np.argsort(-vector.values, kind="stable")[:5])
    short = await case.embed(TEXTS[:1], "document", top_k=5)
    assert short.sparse is not None
    assert_array_equal(short.sparse[0].indices, vector.indices[best])
    least = float(np.median(vector.values))
    strong = await case.embed(TEXTS[:1], "document", min_weight=least)
    assert strong.sparse is not None
    assert_array_equal(strong.sparse[0].indices, vector.indices[vector.values >= least])


async def test_other_outputs_are_refused(case: Case) -> None:
    with pytest.raises(Exception, match=r"This model returns .* but no dense vectors"):
        await case.runner.embed(TEXTS)


def test_prompts_and_limits(case: Case) -> None:
    if case.output == "multi_vector":
        marks = ("[unused0]", "[unused1]") if case.name.startswith("stanford") else ("[Q]", "[D]")
        assert tuple(case.spec.prompts[side].strip() for side in SIDES) == marks
        assert case.spec.default_prompt == "document"
        assert case.stored.facts.dimensions == outputs.WIDTH
    result = asyncio.run(case.embed([TEXTS[-1] * 20], "document"))
    (cut,) = result.truncated
    limit = 40 if case.output == "multi_vector" else outputs.LIMIT
    limit = 512 if case.name.startswith(("attended", "masked-lm")) else limit
    assert cut.kept == case.stored.facts.max_tokens == limit
