"""Outputs in the engine: jobs that want different ones share a pass, results that are not finite, and bad requests."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from errors import InternalError, InvalidRequestError
from models.facts import SparseHead
from runners.backends.token_outputs import nonzero, token_weights
from runners.contracts import EmbeddingOptions, SparseVector, TextOutputs, TokenSequence, TokenSequences, Wanted
from runners.embedding import EmbeddingRunner, OutputRules
from runners.rerank import max_sim
from tests.unit.fakes import FakeBackend, make_engine


class Outputs(FakeBackend):
    """A sparse vector of each text's ids; `strange` weights come out of passes that are not exact."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[tuple[int, bool]] = []
        self.strange = 1.0
        self.strange_exactly = 1.0

    def outputs(self, sequences: TokenSequences, *, exact: bool = False) -> list[TextOutputs]:
        self.passes.append((len(sequences), exact))
        found = []
        for row, sequence in zip(self.forward(sequences), sequences, strict=True):
            indices = np.unique(np.array(sequence.input_ids, dtype=np.int32))
            weights = np.full(len(indices), self.strange_exactly if exact else self.strange, dtype=np.float32)
            found.append(TextOutputs(row, SparseVector(indices, weights) if sequence.wanted & Wanted.SPARSE else None))
        return found


def text(number: int, wanted: Wanted) -> TokenSequence:
    return TokenSequence([number] * 4, wanted=wanted)


async def test_jobs_that_want_different_outputs_share_a_pass() -> None:
    backend = Outputs()
    engine = make_engine(backend)
    both = Wanted.DENSE | Wanted.SPARSE
    rows, outputs = await asyncio.gather(
        engine.run([text(3, Wanted.DENSE)]), engine.outputs([text(5, both), text(7, both)])
    )
    engine.close()
    assert backend.passes == [(3, False)]
    assert rows.tolist() == [[12, 4]] or rows.shape[0] == 1
    assert [each.sparse.indices.tolist() for each in outputs if each.sparse] == [[5], [7]]
    assert all(each.dense is not None for each in outputs)


async def test_outputs_that_are_not_finite_are_computed_in_float32() -> None:
    backend = Outputs()
    backend.strange = np.nan
    engine = make_engine(backend)
    (found,) = await engine.outputs([text(5, Wanted.SPARSE)])
    assert found.finite
    assert backend.passes == [(1, False), (1, True)]
    backend.strange_exactly = np.inf
    with pytest.raises(InternalError, match="NaN or infinity"):
        await engine.outputs([text(5, Wanted.SPARSE)])
    engine.close()


def test_weights_of_a_token_are_its_largest_and_nan_remains() -> None:
    head = SparseHead(kind="linear", ignored_ids=(0, 2))
    sequence = TokenSequence([0, 7, 5, 7, 9, 2])
    vector = token_weights(sequence, np.array([9, 1, 0, 3, np.nan, 9], dtype=np.float32), head)
    assert vector.indices.tolist() == [7, 9]
    np.testing.assert_array_equal(vector.values, [3, np.nan])
    assert nonzero(np.array([0, 2, np.nan], dtype=np.float32), SparseHead(kind="vocabulary")).indices.tolist() == [1, 2]


def test_the_strongest_weights() -> None:
    vector = SparseVector(np.array([1, 4, 6, 8], dtype=np.int32), np.array([0.1, 3, 2, 2], dtype=np.float32))
    assert vector.strongest(2, 0).indices.tolist() == [4, 6]
    assert vector.strongest(None, 2.0).indices.tolist() == [4, 6, 8]
    assert vector.strongest(3, 2.5).indices.tolist() == [4]


def test_max_sim_by_hand() -> None:
    query = np.array([[1, 0], [0, 1]], dtype=np.float32)
    document = np.array([[0.6, 0.8], [0.8, 0.6]], dtype=np.float32)
    assert max_sim(query, document) == pytest.approx(1.6)
    assert max_sim(query, document[:0]) == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (EmbeddingOptions(outputs=("sparse",)), "returns dense vectors, but no sparse vectors"),
        (EmbeddingOptions(late_chunking=True), "does not support late chunking: it is"),
    ],
)
async def test_what_a_model_lacks_is_refused(options: EmbeddingOptions, reason: str) -> None:
    engine = make_engine(FakeBackend())
    runner = EmbeddingRunner(engine, 3, OutputRules(no_chunks="it is a test"))
    with pytest.raises(InvalidRequestError, match=reason):
        await runner.embed(["a"], options)
    engine.close()
