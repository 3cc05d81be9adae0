"""Two main lanes: the device is handed the next full pass while one runs, and nothing less than a full one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from runners.batching.batcher import AdaptiveBatcher
from runners.contracts import TokenSequence
from tests.unit.fakes import PATIENCE_S, GatedRun, batching, until

BUDGET = 16


@pytest.fixture
def run() -> Iterator[GatedRun]:
    """Passes that wait to be let through."""
    made = GatedRun(gated=True)
    yield made
    made.open()


@pytest.fixture
def batcher(run: GatedRun) -> Iterator[AdaptiveBatcher]:
    """A batcher for a device that packs and overlaps."""
    made = AdaptiveBatcher(run, batching(max_batch_tokens=BUDGET, padding_cost=0.0, concurrent_passes=2))
    yield made
    run.open()
    made.close()


def submit(batcher: AdaptiveBatcher, first: int, *lengths: int) -> asyncio.Task[object]:
    return asyncio.create_task(batcher.submit([TokenSequence([first] * length) for length in lengths]))


async def test_a_full_pass_is_handed_over_while_another_runs(batcher: AdaptiveBatcher, run: GatedRun) -> None:
    first = submit(batcher, 1, 8)
    await run.begun()
    second = submit(batcher, 2, 8, 8)
    await run.begun()
    run.let(2)
    await asyncio.gather(first, second)
    assert sorted(map(len, run.batches)) == [1, 2]


async def test_less_than_a_full_pass_waits_for_company(batcher: AdaptiveBatcher, run: GatedRun) -> None:
    first = submit(batcher, 1, 8)
    await run.begun()
    others = [submit(batcher, 2, 7), submit(batcher, 3, 8)]
    await until(lambda: batcher.queued_tokens == 15)
    assert not run.started.acquire(timeout=0.05)
    run.let()
    await run.begun()
    run.let()
    await asyncio.gather(first, *others)
    assert sorted(map(len, run.batches)) == [1, 2]


async def test_texts_of_different_lengths_share_a_pass_without_padding(batcher: AdaptiveBatcher, run: GatedRun) -> None:
    first = submit(batcher, 1, 1)
    await run.begun()
    others = [submit(batcher, 2, 13), submit(batcher, 3, 1), submit(batcher, 4, 1)]
    await until(lambda: batcher.queued_tokens == 15)
    run.open()
    await asyncio.gather(first, *others)
    assert sorted(map(len, run.batches)) == [1, 3]  # padded, the second pass would be of 39 tokens


async def test_everything_is_answered_in_order(batcher: AdaptiveBatcher, run: GatedRun) -> None:
    run.open()
    jobs = [submit(batcher, number, *[1 + number * place % 9 for place in range(20)]) for number in range(1, 40)]
    for number, rows in enumerate(await asyncio.gather(*jobs), start=1):
        assert rows.tolist() == [[number, 1 + number * place % 9] for place in range(20)]  # type: ignore[attr-defined]  # numpy
    assert batcher.queued_tokens == 0


async def test_no_row_is_lost_where_both_lanes_finish_parts_of_a_request(
    batcher: AdaptiveBatcher, run: GatedRun
) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places at every chance
    try:
        run.open()
        jobs = [submit(batcher, number, *[8] * 400) for number in range(1, 9)]
        for number, rows in enumerate(await asyncio.wait_for(asyncio.gather(*jobs), PATIENCE_S), start=1):
            assert rows.tolist() == [[number, 8]] * 400  # type: ignore[attr-defined]  # numpy
    finally:
        sys.setswitchinterval(before)
