"""Sizes of passes on OpenVINO: few shapes, little padding, never beyond a model's limit."""

from __future__ import annotations

import pytest

from runners.backends.batches import PaddedBatch
from runners.backends.openvino import round_length
from runners.contracts import TokenSequence
from tests.unit.fakes import facts

LIMIT = 126
FACTS = facts(max_tokens=LIMIT)


@pytest.mark.parametrize(
    ("count", "length", "padded"),
    [
        (1, 1, 2),
        (1, 10, 10),
        (1, 32, 32),
        (1, 33, 36),
        (1, 64, 64),
        (1, 65, 72),
        (1, 125, LIMIT),
        (3, 9, 10),
        (8, 9, 16),
    ],
)
def test_small_passes_are_rounded_less(count: int, length: int, padded: int) -> None:
    batch = PaddedBatch.of([TokenSequence([7] * length, [0] * length)] * count, pad_id=0)
    rounded = round_length(batch, FACTS)
    assert rounded.input_ids.shape == (count, padded)
    assert rounded.token_type_ids is not None
    assert rounded.token_type_ids.shape == (count, padded)
    assert rounded.attention_mask.sum() == rounded.pooling_mask.sum() == rounded.text_mask.sum() == count * length


def test_the_rounding_adds_about_a_tenth_at_most() -> None:
    for length in range(9, LIMIT + 1):
        batch = PaddedBatch.of([TokenSequence([7] * length)], pad_id=0)
        assert round_length(batch, FACTS).input_ids.size <= 1.12 * length
