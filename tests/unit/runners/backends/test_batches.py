"""Sequences as the arrays of a pass."""

from __future__ import annotations

import numpy as np
import pytest

from runners.backends.batches import PackedBatch, PaddedBatch, UnpaddedBatch
from runners.contracts import TokenSequence


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
    batch = UnpaddedBatch.of(padded, step)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 4] + [5] * repeated]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 0, 1] + [0] * repeated]
    assert batch.token_type_ids is not None
    assert batch.token_type_ids.tolist() == [[0, 0, 1, 1, 0, 0] + [0] * repeated]
    assert batch.indices.tolist() == [0, 1, 2, 3, 6, 7] + [0] * repeated
    assert batch.pooling_mask.tolist() == [[0, 1, 1], [1, 0, 0], [1, 1, 0]]
    real = padded.attention_mask == 1
    np.testing.assert_array_equal(batch.attention_mask, padded.attention_mask)
    np.testing.assert_array_equal(batch.input_ids[0][batch.places][real], padded.input_ids[real])
    assert batch.places.min() >= 0
    assert batch.places.max() == 5


def test_what_has_no_segments_gets_none() -> None:
    batch = UnpaddedBatch.of(PaddedBatch.of([TokenSequence([5, 6]), TokenSequence([8])], pad_id=0))
    assert batch.token_type_ids is None
    assert len(batch.arrays()) == 6
