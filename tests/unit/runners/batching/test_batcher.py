"""The batcher: every waiter gets its own rows or an error, whoever else is in the queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from errors import OverloadedError, ShuttingDownError
from runners.batching.batcher import AdaptiveBatcher
from runners.contracts import Rows, Timings, TokenSequence, TokenSequences
from tests.unit.fakes import GatedRun, batching, until

Made = list[AdaptiveBatcher]


@pytest.fixture
def made() -> Iterator[Made]:
    """Batchers of a test, closed at its end."""
    batchers: Made = []
    yield batchers
    for batcher in batchers:
        for lane in batcher._lanes:
            if isinstance(lane.run, GatedRun):
                lane.run.open()
        batcher.close()


class DenseBatcher(AdaptiveBatcher):
    """A batcher whose jobs want dense vectors only."""

    async def submit(self, sequences: TokenSequences, priority: int = 0, timings: Timings | None = None) -> Rows:
        results = await super().submit(sequences, priority, timings)
        assert isinstance(results, np.ndarray)
        return results


def start(made: Made, run: GatedRun, *, budget: int = 64, queued: int = 10_000) -> DenseBatcher:
    batcher = DenseBatcher(run, batching(max_batch_tokens=budget, max_queued_tokens=queued))
    made.append(batcher)
    return batcher


def text(first_id: int, length: int = 4) -> TokenSequence:
    return TokenSequence([first_id] * length)


def rows(*sequences: TokenSequence) -> list[list[float]]:
    """What GatedRun makes of them."""
    return [[sequence.input_ids[0], len(sequence)] for sequence in sequences]


def _holds(batcher: AdaptiveBatcher, tokens: int) -> bool:
    return batcher.queued_tokens == tokens


async def test_rows_come_back_in_order(made: Made) -> None:
    lengths = np.random.default_rng(0).integers(1, 90, size=200).tolist()
    sequences = [text(number + 1, length) for number, length in enumerate(lengths)]
    run = GatedRun()
    result = await start(made, run).submit(sequences)
    assert result.dtype == np.float32
    assert result.tolist() == rows(*sequences)
    assert len(run.batches) > 1


async def test_neighbours_do_not_matter(made: Made) -> None:
    batcher = start(made, GatedRun())
    sequences = [text(number, 1 + number % 20) for number in range(1, 61)]
    alone = [(await batcher.submit([sequence])).tolist()[0] for sequence in sequences]
    together = await asyncio.gather(*(batcher.submit([sequence]) for sequence in reversed(sequences)))
    assert [result.tolist()[0] for result in together][::-1] == alone == rows(*sequences)


async def test_small_jobs_run_together(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run)
    first = asyncio.create_task(batcher.submit([text(1)]))
    await run.begun()
    others = [asyncio.create_task(batcher.submit([text(number)])) for number in range(2, 10)]
    await until(lambda: batcher.queued_tokens == 8 * 4)
    run.open()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in run.batches] == [1, 8]


async def test_merged_jobs_keep_within_the_budget(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, budget=16)
    tasks = [asyncio.create_task(batcher.submit([text(1)]))]
    await run.begun()
    tasks += [asyncio.create_task(batcher.submit([text(number)])) for number in range(2, 14)]
    await until(lambda: batcher.queued_tokens == 12 * 4)
    run.open()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in run.batches] == [1, 4, 4, 4]


async def test_a_lone_long_text_is_not_padded_into_a_batch_of_short_ones(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, budget=2048)
    tasks = [asyncio.create_task(batcher.submit([text(1)]))]
    await run.begun()
    tasks += [asyncio.create_task(batcher.submit([text(2, length)])) for length in (4, 200, 4, 200, 4)]
    await until(lambda: batcher.queued_tokens == 412)
    run.open()
    await asyncio.gather(*tasks)
    assert all(len({len(ids) for ids in batch}) == 1 for batch in run.batches)


async def test_a_huge_job_delays_a_small_one_by_no_more_than_two_batches(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, budget=16)
    huge = asyncio.create_task(batcher.submit([text(1)] * 400))
    await run.begun()
    for number in range(2, 6):
        begun, waiting = len(run.batches) + 1, batcher.queued_tokens
        small = asyncio.create_task(batcher.submit([text(number)]))
        await until(partial(_holds, batcher, waiting + 4))
        for _ in range(3):
            run.let()
            await run.begun()
        await until(small.done)
        batch = next(place for place, batch in enumerate(run.batches) if [number] * 4 in batch)
        assert batch - begun < 2
    run.open()
    assert (await huge).shape == (400, 2)


async def test_small_jobs_do_not_starve_a_huge_one(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, budget=16)
    huge = asyncio.create_task(batcher.submit([text(1)] * 40))
    await run.begun()
    small = [asyncio.create_task(batcher.submit([text(number)] * 4)) for number in range(2, 32)]
    await until(lambda: batcher.queued_tokens == 36 * 4 + 30 * 16)
    run.let(20)
    await until(huge.done)
    run.open()
    await asyncio.gather(*small)


async def test_only_the_failing_input_gets_the_error(made: Made) -> None:
    run = GatedRun(gated=True, poison=[13])
    batcher = start(made, run)
    first = asyncio.create_task(batcher.submit([text(1)]))
    await run.begun()
    good = [asyncio.create_task(batcher.submit([text(number)])) for number in range(2, 8)]
    bad = asyncio.create_task(batcher.submit([text(13)]))
    mixed = asyncio.create_task(batcher.submit([text(8), text(13), text(9)]))
    await until(lambda: batcher.queued_tokens == 10 * 4)
    run.open()
    results = await asyncio.gather(first, *good)
    assert [result.tolist() for result in results] == [rows(text(number)) for number in range(1, 8)]
    for task in (bad, mixed):
        with pytest.raises(ValueError, match="poisoned"):
            await task
    assert (await batcher.submit([text(1)])).tolist() == rows(text(1))
    assert batcher.queued_tokens == 0


async def test_a_run_that_returns_too_few_rows_is_an_error_and_not_a_hang(made: Made) -> None:
    def run(sequences: TokenSequences) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.zeros((len(sequences) - 1, 2), dtype=np.float32)

    made.append(AdaptiveBatcher(run, batching()))
    for _ in range(2):
        with pytest.raises(ValueError, match="rows"):
            await asyncio.wait_for(made[-1].submit([text(1), text(2)]), timeout=20)


async def test_work_of_a_waiter_that_left_is_dropped(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, budget=16)
    first = asyncio.create_task(batcher.submit([text(1)]))
    await run.begun()
    leaving = asyncio.create_task(batcher.submit([text(2)] * 20))
    staying = asyncio.create_task(batcher.submit([text(3)]))
    await until(lambda: batcher.queued_tokens == 21 * 4)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert batcher.queued_tokens == 4
    run.open()
    assert (await staying).tolist() == rows(text(3))
    await first
    assert not [batch for batch in run.batches if [2] * 4 in batch]


async def test_a_waiter_that_leaves_in_the_middle_takes_the_rest_along(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, budget=16)
    leaving = asyncio.create_task(batcher.submit([text(2)] * 40))
    await run.begun()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    run.open()
    await batcher.submit([text(3)])
    assert (len(run.batches), batcher.queued_tokens) == (2, 0)


async def test_overload_is_refused_and_passes(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, queued=20)
    first = asyncio.create_task(batcher.submit([text(1)]))
    await run.begun()
    second = asyncio.create_task(batcher.submit([text(2, 20)]))
    await until(lambda: batcher.queued_tokens == 20)
    with pytest.raises(
        OverloadedError, match=r"20 tokens wait .* 4 more .* limit of 20 \(MAX_QUEUED_TOKENS\)"
    ) as raised:
        await batcher.submit([text(3)])
    assert raised.value.retry_after_s == 1
    run.open()
    await asyncio.gather(first, second)
    await batcher.submit([text(3)])


async def test_a_request_above_the_limit_runs_when_nothing_waits(made: Made) -> None:
    assert (await start(made, GatedRun(), queued=20).submit([text(1, 30)])).shape == (1, 2)


async def test_close_gives_every_waiter_an_answer(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run, budget=16)
    computing = asyncio.create_task(batcher.submit([text(1)]))
    await run.begun()
    waiting = [asyncio.create_task(batcher.submit([text(2)] * 9)) for _ in range(3)]
    await until(lambda: batcher.queued_tokens == 27 * 4)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    for task in waiting:
        with pytest.raises(ShuttingDownError, match="unloaded"):
            await task
    run.open()
    await closing
    assert (await computing).tolist() == rows(text(1))
    with pytest.raises(ShuttingDownError, match="being unloaded"):
        await batcher.submit([text(1)])


async def test_close_ends_the_thread_and_may_come_twice(made: Made) -> None:
    batcher = start(made, GatedRun())
    names = {thread.name for thread in threading.enumerate()}
    assert "batcher tiny" in names
    batcher.close()
    batcher.close()
    assert "batcher tiny" not in {thread.name for thread in threading.enumerate()}


def test_a_waiter_whose_loop_is_gone_does_not_stop_the_others(made: Made) -> None:
    run = GatedRun(gated=True)
    batcher = start(made, run)

    async def leave() -> None:
        job = asyncio.ensure_future(batcher.submit([text(1)]))
        await run.begun()
        batcher.abandon = lambda job: None  # type: ignore[method-assign]  # as if the loop died before it could
        job.cancel()

    asyncio.run(leave())
    del batcher.abandon
    run.open()
    assert asyncio.run(batcher.submit([text(2)])).tolist() == rows(text(2))
