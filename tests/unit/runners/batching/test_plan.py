"""Cutting inputs into batches: every index once, within the budget, and no cut is cheaper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from runners.batching.costs import CALL_COST_TOKENS, Costs
from runners.batching.planning import plan

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)
PADDING_COSTS = st.sampled_from([0.0, 0.15, 0.5, 1.0])


def assumed_plan(lengths: list[int], budget: int, padding_cost: float = 1.0) -> list[list[int]]:
    return plan(lengths, budget, Costs.assumed(padding_cost), padding_cost=padding_cost)


def computed(chunk: list[int], lengths: list[int], padding_cost: float) -> float:
    """Tokens and padding of a chunk."""
    tokens = sum(lengths[index] for index in chunk)
    return tokens + padding_cost * (max(lengths[index] for index in chunk) * len(chunk) - tokens)


def cost(chunks: list[list[int]], lengths: list[int], padding_cost: float) -> float:
    """What the docstring of `plan` promises to minimise."""
    return sum(computed(chunk, lengths, padding_cost) + CALL_COST_TOKENS for chunk in chunks)


def fits(chunk: list[int], lengths: list[int], budget: float, padding_cost: float) -> bool:
    return len(chunk) == 1 or computed(chunk, lengths, padding_cost) <= budget


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


@given(lengths=LENGTHS, budget=st.integers(16, 4096), padding_cost=PADDING_COSTS)
def test_every_input_is_in_one_chunk_and_no_chunk_exceeds_the_budget(
    lengths: list[int], budget: int, padding_cost: float
) -> None:
    chunks = assumed_plan(lengths, budget, padding_cost)
    assert sorted(index for chunk in chunks for index in chunk) == list(range(len(lengths)))
    assert all(fits(chunk, lengths, budget + 1e-6, padding_cost) for chunk in chunks)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=7), budget=st.integers(16, 200))
def test_no_other_partition_is_cheaper(lengths: list[int], budget: int) -> None:
    allowed = (
        partition
        for partition in partitions(list(range(len(lengths))))
        if all(fits(chunk, lengths, budget, 1) for chunk in partition)
    )
    assert cost(assumed_plan(lengths, budget), lengths, 1) == min(cost(partition, lengths, 1) for partition in allowed)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8).map(sorted),
    budget=st.integers(16, 200),
    padding_cost=PADDING_COSTS,
)
def test_no_other_cuts_are_cheaper(lengths: list[int], budget: int, padding_cost: float) -> None:
    """Where padding costs less, what is not sorted by length may fit a budget better; that is not looked for."""
    cuts = (
        [list(range(*ends)) for ends in pairwise((0, *places, len(lengths)))]
        for count in range(len(lengths))
        for places in combinations(range(1, len(lengths)), count)
    )
    allowed = (chunks for chunks in cuts if all(fits(chunk, lengths, budget - 1e-6, padding_cost) for chunk in chunks))
    cheapest = min(cost(chunks, lengths, padding_cost) for chunks in allowed)
    assert cost(assumed_plan(lengths, budget, padding_cost), lengths, padding_cost) <= cheapest + 1e-6


@given(lengths=LENGTHS)
def test_short_inputs_come_first(lengths: list[int]) -> None:
    longest = [max(lengths[index] for index in chunk) for chunk in assumed_plan(lengths, 512)]
    assert longest == sorted(longest)


def test_an_input_above_the_budget_runs_alone() -> None:
    assert assumed_plan([10, 5000, 10], 2048) == [[0, 2], [1]]


def test_nothing_to_plan() -> None:
    assert assumed_plan([], 2048) == []


@given(lengths=st.lists(st.integers(1, 300), max_size=40), budget=st.integers(1, 1000))
def test_packed_chunks_are_filled_and_fit(lengths: list[int], budget: int) -> None:
    chunks = assumed_plan(lengths, budget, 0.0)
    assert sorted(index for chunk in chunks for index in chunk) == list(range(len(lengths)))
    sizes = [sum(lengths[index] for index in chunk) for chunk in chunks]
    assert all(size <= budget or len(chunk) == 1 for size, chunk in zip(sizes, chunks, strict=True))
    for chunk, after in pairwise(chunks):
        assert sum(lengths[index] for index in (*chunk, after[0])) > budget
