"""`Embedder` and `Reranker` in the process of their caller: the numbers, reports and errors of the service."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose

from errors import InputTooLongError, InvalidRequestError, ModelNotFoundError, WrongModelKindError
from in_process import Embedder, Reranker
from settings import Settings, load_settings
from tests.integration.conftest import DEFAULT_EMBEDDER, DEFAULT_RERANKER, E5, Checkpoint
from tests.integration.reference import ATOL, LONG, ReferenceEmbedder, ReferenceReranker
from tests.tiny import corpus
from tests.variant import DTYPE, THREADS

TEXTS = [f"{number} {text}" for number in range(60) for text in corpus.ENGLISH[:5]]
"""More texts than are computed at once."""


@pytest.fixture
def settings() -> Settings:
    return load_settings(
        {"DEVICE": "cpu", "DTYPE": DTYPE, "CPU_THREADS": str(THREADS), "BACKEND": "torch", "IMPORT_ON_DEMAND": "false"}
    )


def test_vectors_and_reports_of_a_batch(e5: ReferenceEmbedder, settings: Settings) -> None:
    embedder = pickle.loads(pickle.dumps(Embedder(E5, settings=settings, input_type="document")))
    texts = [*TEXTS, LONG]
    result = embedder(texts)
    assert_allclose(result.vectors, e5.encode(texts, prompt="passage: "), rtol=0, atol=ATOL)
    assert [(cut.index, cut.kept) for cut in result.truncated] == [(len(TEXTS), 512)]
    assert result.prompt_tokens == e5.count([f"passage: {text}" for text in texts])
    assert embedder.revision


def test_calls_from_several_threads(e5: ReferenceEmbedder, settings: Settings) -> None:
    embedder = Embedder(f"{E5}:query", settings=settings, dimensions=8)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: embedder([text]).dense[0], TEXTS[:8]))
    cut = e5.encode(TEXTS[:8], prompt="query: ")[:, :8]
    assert_allclose(found, cut / np.linalg.norm(cut, axis=1, keepdims=True), rtol=0, atol=10 * ATOL)


def test_all_outputs_of_a_batch(checkpoint: Checkpoint, settings: Settings) -> None:
    """Those of a text do not depend on the part that it is computed in."""
    checkpoint(DEFAULT_EMBEDDER)
    embedder = Embedder(DEFAULT_EMBEDDER, settings=settings, outputs=("dense", "sparse", "multi_vector"))
    whole, last = embedder(TEXTS), embedder(TEXTS[-1:])
    assert len(whole.dense) == len(whole.sparse_vectors) == len(whole.token_vectors) == len(TEXTS)
    assert_allclose(whole.dense[-1], last.dense[0], rtol=0, atol=ATOL)
    assert whole.sparse_vectors[-1].indices.tolist() == last.sparse_vectors[0].indices.tolist()
    assert_allclose(whole.token_vectors[-1].vectors, last.token_vectors[0].vectors, rtol=0, atol=ATOL)
    assert embedder(TEXTS[:2]).count == 2
    assert Embedder(DEFAULT_EMBEDDER, settings=settings, outputs=("sparse",))(TEXTS).vectors is None


def test_late_chunking_reads_all_texts_together(checkpoint: Checkpoint, settings: Settings) -> None:
    checkpoint(E5)
    texts = ["a"] * 300  # more than one part
    together = Embedder(E5, settings=settings, late_chunking=True)(texts).dense
    assert len(together) == len(texts)
    assert abs(together[0] - together[256]).max() > 1e-3  # 256 does not begin a text of its own


def test_scores_and_order(reranker: ReferenceReranker, settings: Settings) -> None:
    query, documents = corpus.ENGLISH[0], list(corpus.ENGLISH[1:6])
    ranked = Reranker(DEFAULT_RERANKER, settings=settings, top_n=3)(query, documents)
    expected = reranker.predict(query, documents)
    assert_allclose(ranked.result.scores, expected, rtol=0, atol=ATOL)
    assert [index for index, _ in ranked.order] == list(np.argsort(-expected)[:3])


def test_errors_name_the_text_of_the_whole_batch(checkpoint: Checkpoint, settings: Settings) -> None:
    checkpoint(E5)
    checkpoint(DEFAULT_RERANKER)
    with pytest.raises(InputTooLongError, match=r"^input\.300 has \d+ tokens") as caught:
        Embedder(E5, settings=settings, truncate="refuse")([*TEXTS, LONG])
    assert caught.value.param == "input.300"
    with pytest.raises(InvalidRequestError, match="at least one text"):
        Embedder(E5, settings=settings)([])
    with pytest.raises(ModelNotFoundError):
        Embedder("no-such-model", settings=settings)(["a"])
    with pytest.raises(WrongModelKindError):
        Embedder(DEFAULT_RERANKER, settings=settings)(["a"])
    with pytest.raises(TypeError, match="typo"):
        Embedder(E5, typo=1)
