"""Cutting inputs into batches: every index once, within the budget, and no cut is cheaper; then padding them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.planning import CALL_COST_TOKENS, collate, plan
from runners.tokenization import Sequence

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)


def cost(chunks: list[list[int]], lengths: list[int]) -> int:
    """What the docstring of `plan` promises to minimise."""
    return sum(max(lengths[index] for index in chunk) * len(chunk) + CALL_COST_TOKENS for chunk in chunks)


def fits(chunk: list[int], lengths: list[int], budget: int) -> bool:
    return len(chunk) == 1 or max(lengths[index] for index in chunk) * len(chunk) <= budget


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Every way to split a set, sorted or not."""
    if not items:
        yield []
        return
    first, *rest = items
    for partition in partitions(rest):
        yield [[first], *partition]
        for place, chunk in enumerate(partition):
            yield [*partition[:place], [first, *chunk], *partition[place + 1 :]]


@given(lengths=LENGTHS, budget=st.integers(16, 4096))
def test_every_input_is_in_one_chunk_and_no_chunk_exceeds_the_budget(lengths: list[int], budget: int) -> None:
    chunks = plan(lengths, budget)
    assert sorted(index for chunk in chunks for index in chunk) == list(range(len(lengths)))
    assert all(fits(chunk, lengths, budget) for chunk in chunks)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=7), budget=st.integers(16, 200))
def test_no_other_partition_is_cheaper(lengths: list[int], budget: int) -> None:
    allowed = (
        partition
        for partition in partitions(list(range(len(lengths))))
        if all(fits(chunk, lengths, budget) for chunk in partition)
    )
    assert cost(plan(lengths, budget), lengths) == min(cost(partition, lengths) for partition in allowed)


@given(lengths=LENGTHS)
def test_short_inputs_come_first(lengths: list[int]) -> None:
    longest = [max(lengths[index] for index in chunk) for chunk in plan(lengths, 512)]
    assert longest == sorted(longest)


def test_an_input_above_the_budget_runs_alone() -> None:
    assert plan([10, 5000, 10], 2048) == [[0, 2], [1]]


def test_nothing_to_plan() -> None:
    assert plan([], 2048) == []


@pytest.mark.parametrize("segments", [True, False])
def test_collate_pads_on_the_right(segments: bool) -> None:
    sequences = [
        Sequence([5, 6, 7], [0, 0, 1] if segments else None),
        Sequence([8], [1] if segments else None),
    ]
    batch = collate(sequences, pad_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["pooling_mask"].tolist() == batch["attention_mask"].tolist()
    assert {batch["input_ids"].dtype, batch["attention_mask"].dtype} == {np.dtype(np.int64)}
    if segments:
        assert batch["token_type_ids"].tolist() == [[0, 0, 1], [1, 0, 0]]
    else:
        assert batch["token_type_ids"] is None


def test_collate_leaves_the_prompt_out_of_pooling() -> None:
    batch = collate([Sequence([5, 6, 7], unpooled=2), Sequence([8], unpooled=2)], pad_id=0)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["pooling_mask"].tolist() == [[0, 0, 1], [0, 0, 0]]
