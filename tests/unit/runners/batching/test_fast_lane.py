"""Short requests step past large ones on a second network; a request's priority and age decide the turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from errors import InternalError
from runners.batching.batcher import AdaptiveBatcher
from runners.batching.lane_threads import LARGE_JOB_TOKENS, SMALL_JOB_TOKENS
from runners.batching.queue import AGEING_PER_S
from runners.contracts import TokenSequence
from tests.unit.fakes import GatedRun, batching, until

LARGE = LARGE_JOB_TOKENS // 8


class Lanes:
    """A batcher with both lanes, each with a run of its own."""

    def __init__(self, budget: int) -> None:
        self.main = GatedRun(gated=True)
        self.second = GatedRun(poison=[666])
        self.batcher = AdaptiveBatcher(self.main, batching(max_batch_tokens=budget), second_run=self.second)

    def submit(self, first_id: int, *, tokens: int = 8, texts: int = 1, priority: int = 0) -> asyncio.Task[object]:
        """A request of `texts` equal texts."""
        sequences = [TokenSequence([first_id] * tokens)] * texts
        return asyncio.create_task(self.batcher.submit(sequences, priority))

    async def large(self) -> asyncio.Task[object]:
        """A large request whose first pass is running and waits to be let through."""
        task = self.submit(1, texts=LARGE)
        await self.main.begun()
        return task


@pytest.fixture
def budget() -> int:
    """Tokens of a pass."""
    return 64


@pytest.fixture
def lanes(budget: int) -> Iterator[Lanes]:
    """Both lanes, closed at the end."""
    made = Lanes(budget)
    yield made
    made.main.open()
    made.second.open()
    made.batcher.close()


async def test_a_short_request_is_answered_while_a_large_one_runs(lanes: Lanes) -> None:
    large = await lanes.large()
    assert (await lanes.submit(2)).tolist() == [[2.0, 8.0]]  # type: ignore[attr-defined]  # rows of numpy
    assert lanes.main.batches == []
    assert not large.done()
    assert lanes.batcher.queued_tokens == (LARGE - 8) * 8  # the first pass of the large one took eight
    lanes.main.open()
    assert len(await large) == LARGE  # type: ignore[arg-type]  # rows of numpy


async def test_without_a_large_request_everything_runs_together(lanes: Lanes) -> None:
    first = lanes.submit(1, texts=4)
    await lanes.main.begun()
    others = [lanes.submit(number) for number in range(2, 6)]
    await until(lambda: lanes.batcher.queued_tokens == 4 * 8)
    lanes.main.open()
    await asyncio.gather(first, *others)
    assert lanes.second.batches == []


async def test_only_short_requests_take_the_fast_lane(lanes: Lanes) -> None:
    await lanes.large()
    tasks = [lanes.submit(2, tokens=SMALL_JOB_TOKENS + 1), lanes.submit(3, tokens=SMALL_JOB_TOKENS)]
    await tasks[1]
    assert [ids[0] for batch in lanes.second.batches for ids in batch] == [3]
    lanes.main.open()
    await tasks[0]


async def test_short_requests_that_wait_for_the_fast_lane_share_a_pass(lanes: Lanes) -> None:
    lanes.second._gated = True
    await lanes.large()
    first = lanes.submit(2)
    await lanes.second.begun()
    rest = [lanes.submit(number) for number in range(3, 7)]
    await until(lambda: lanes.batcher.queued_tokens == (LARGE - 8) * 8 + 4 * 8)
    lanes.second.open()
    await asyncio.gather(first, *rest)
    assert [len(batch) for batch in lanes.second.batches] == [1, 4]


async def test_a_failure_in_the_fast_lane_is_its_requests_own(lanes: Lanes) -> None:
    large = await lanes.large()
    with pytest.raises(ValueError, match="poisoned"):
        await lanes.submit(666)
    await lanes.submit(3)
    lanes.main.open()
    await large


async def test_a_hang_in_the_fast_lane_is_noticed_and_given_up(lanes: Lanes) -> None:
    lanes.second._gated = True
    large = await lanes.large()
    small = lanes.submit(2)
    await lanes.second.begun()
    await until(lambda: lanes.batcher.stalled_s > 0)
    lanes.batcher.abort(InternalError("given up"))
    for task in (small, large):
        with pytest.raises(InternalError, match="given up"):
            await task


async def test_closing_waits_for_both_lanes(lanes: Lanes) -> None:
    large = await lanes.large()
    await lanes.submit(2)
    lanes.main.open()
    await asyncio.to_thread(lanes.batcher.close)
    assert not any(lane.thread.is_alive() for lane in lanes.batcher._lanes if lane.thread)
    await asyncio.gather(large, return_exceptions=True)


async def test_a_low_number_is_served_first(lanes: Lanes) -> None:
    running = lanes.submit(1, tokens=64)
    await lanes.main.begun()
    waiting = [lanes.submit(number, tokens=64, priority=priority) for number, priority in ((2, 500), (3, 900), (4, 0))]
    await until(lambda: lanes.batcher.queued_tokens == 3 * 64)
    lanes.main.open()
    await asyncio.gather(running, *waiting)
    assert [batch[0][0] for batch in lanes.main.batches] == [1, 4, 2, 3]


async def test_waiting_makes_up_for_priority(lanes: Lanes) -> None:
    running = lanes.submit(1, tokens=64)
    await lanes.main.begun()
    old = lanes.submit(2, tokens=64, priority=999)
    await until(lambda: lanes.batcher.queued_tokens == 64)
    next(lanes.batcher._queue.jobs()).waiting_since -= 999 / AGEING_PER_S + 1
    new = lanes.submit(3, tokens=64)
    await until(lambda: lanes.batcher.queued_tokens == 2 * 64)
    lanes.main.open()
    await asyncio.gather(running, old, new)
    assert [batch[0][0] for batch in lanes.main.batches] == [1, 2, 3]


@pytest.mark.parametrize("budget", [2048])
async def test_a_wide_pass_of_requests_that_are_not_large_is_overtaken(lanes: Lanes) -> None:
    first = lanes.submit(1)
    await lanes.main.begun()
    waiting = [lanes.submit(number, tokens=LARGE_JOB_TOKENS - 8) for number in range(2, 6)]
    await until(lambda: lanes.batcher.queued_tokens == 4 * (LARGE_JOB_TOKENS - 8))
    lanes.main.let()
    await lanes.main.begun()
    await lanes.submit(9)
    assert [ids[0] for batch in lanes.second.batches for ids in batch] == [9]
    lanes.main.open()
    await asyncio.gather(first, *waiting)
