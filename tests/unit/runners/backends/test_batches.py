"""Sequences as the arrays of a pass."""

from __future__ import annotations

import numpy as np
import pytest

from runners.backends.batches import LONGEST_SHARED, PackedBatch, PaddedBatch, UnpaddedBatch, most_rows
from runners.contracts import BatchShape, TokenSequence


@pytest.mark.parametrize("segments", [True, False])
def test_a_batch_is_padded_on_the_right(segments: bool) -> None:
    sequences = [
        TokenSequence([5, 6, 7], [0, 0, 1] if segments else None),
        TokenSequence([8], [1] if segments else None),
    ]
    batch = PaddedBatch.of(sequences, pad_id=9)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.pooling_mask.tolist() == batch.attention_mask.tolist()
    assert {batch.input_ids.dtype, batch.attention_mask.dtype} == {np.dtype(np.int64)}
    if segments:
        assert batch.token_type_ids is not None
        assert batch.token_type_ids.tolist() == [[0, 0, 1], [1, 0, 0]]
    else:
        assert batch.token_type_ids is None


def test_the_prompt_has_no_part_in_pooling() -> None:
    batch = PaddedBatch.of([TokenSequence([5, 6, 7], unpooled=2), TokenSequence([8], unpooled=2)], pad_id=0)
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.pooling_mask.tolist() == [[0, 0, 1], [0, 0, 0]]


def test_packed_sequences_lie_end_to_end() -> None:
    batch = PackedBatch.of(
        [TokenSequence([5, 6, 7], [0, 0, 1], unpooled=1), TokenSequence([8], [1]), TokenSequence([9, 4], [0, 0])]
    )
    ids, positions, counted, segments = batch.tokens.tolist()
    assert ids == [5, 6, 7, 8, 9, 4]
    assert positions == [0, 1, 2, 0, 0, 1]
    assert counted == [0, 1, 1, 1, 1, 1]
    assert segments == [0, 0, 1, 1, 0, 0]
    assert batch.bounds.tolist() == [0, 3, 4, 6]
    assert batch.longest == 3


@pytest.mark.parametrize(("step", "repeated"), [(1, 0), (4, 2), (8, 2)])
def test_only_attention_and_pooling_see_the_rectangle(step: int, repeated: int) -> None:
    sequences = [
        TokenSequence([5, 6, 7], [0, 0, 1], unpooled=1),
        TokenSequence([8], [1]),
        TokenSequence([9, 4], [0, 0]),
    ]
    padded = PaddedBatch.of(sequences, pad_id=1)
    batch = UnpaddedBatch.of(padded, step, share=False)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 4] + [5] * repeated]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 0, 1] + [0] * repeated]
    assert batch.token_type_ids is not None
    assert batch.token_type_ids.tolist() == [[0, 0, 1, 1, 0, 0] + [0] * repeated]
    assert batch.indices.tolist() == [0, 1, 2, 3, 6, 7] + [0] * repeated
    assert batch.pooling_mask.tolist() == [[0, 1, 1], [1, 0, 0], [1, 1, 0]]
    real = padded.attention_mask == 1
    np.testing.assert_array_equal(batch.key_groups, padded.attention_mask)
    assert batch.query_groups.tolist() == [[1]] * 3
    np.testing.assert_array_equal(batch.input_ids[0][batch.places][real], padded.input_ids[real])
    np.testing.assert_array_equal(batch.input_ids[0][batch.cells][real], padded.input_ids[real])
    for indices in (batch.places, batch.cells):
        assert indices.min() >= 0
        assert indices.max() == 5


def test_what_has_no_segments_gets_none() -> None:
    batch = UnpaddedBatch.of(PaddedBatch.of([TokenSequence([5, 6]), TokenSequence([8])], pad_id=0))
    assert batch.token_type_ids is None
    assert [len(batch.arrays(shared=shared)) for shared in (True, False)] == [8, 6]


def of_lengths(*lengths: int) -> UnpaddedBatch:
    """Each token is the number of its text."""
    return UnpaddedBatch.of(PaddedBatch.of([TokenSequence([1 + text] * n) for text, n in enumerate(lengths)], pad_id=0))


def test_short_texts_share_a_row() -> None:
    batch = of_lengths(2, 5, 1, 3)
    assert batch.key_groups.tolist() == [[2] * 5, [4, 4, 4, 1, 1], [3, 0, 0, 0, 0]]
    assert batch.query_groups is batch.key_groups
    assert batch.input_ids.tolist() == [[1, 1, 2, 2, 2, 2, 2, 3, 4, 4, 4]]
    assert batch.places.shape == batch.pooling_mask.shape == (4, 5)


@pytest.mark.parametrize(
    ("lengths", "shape", "queries"),
    [
        ((7,), (1, 7), 1),
        ((3, 0, 3), (2, 3), 3),  # an empty text needs no row
        ((5, 4, 3), (3, 5), 1),
        ((LONGEST_SHARED, 1, 1), (2, LONGEST_SHARED), LONGEST_SHARED),
        ((LONGEST_SHARED + 1, 1, 1), (3, LONGEST_SHARED + 1), 1),
        (tuple(range(1, 60)), (30, 59), 59),
    ],
)
def test_rows_hold_each_token_once(lengths: tuple[int, ...], shape: tuple[int, int], queries: int) -> None:
    batch = of_lengths(*lengths)
    assert batch.key_groups.shape == batch.cells.shape == shape
    assert batch.query_groups.shape == (shape[0], queries)
    assert shape[0] <= max(most_rows(BatchShape.of(list(lengths))), len(lengths) * (shape[1] > LONGEST_SHARED))
    tokens = np.arange(sum(lengths))
    assert len(set(batch.indices.tolist())) == len(tokens)
    np.testing.assert_array_equal(batch.cells.ravel()[batch.indices], tokens)
    if queries > 1:
        np.testing.assert_array_equal(batch.key_groups.ravel()[batch.indices], batch.input_ids[0])
