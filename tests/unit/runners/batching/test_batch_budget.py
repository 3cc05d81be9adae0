"""A batch budget that a shortage of memory lowers grows again, step by step, and not for ever in vain."""

from __future__ import annotations

import asyncio
import logging

import pytest

from errors import ModelUnavailableError
from runners.batching.batch_budget import RECOVERY_PASSES, BatchBudget
from runners.contracts import OutOfMemoryError, Rows, TokenSequences
from runners.engine import Engine
from tests.unit.fakes import make_engine
from tests.unit.runners.faulty_backend import FaultyBackend, answer_of, text

LEARNED = 64


def work(budget: BatchBudget, room: int, passes: int) -> int:
    """Full passes on a device with room for so many tokens; how many of them failed."""
    failed = 0
    for _ in range(passes):
        if budget.tokens > room:
            failed += 1
            budget.out_of_memory(budget.tokens)
        else:
            budget.passed(budget.tokens)
    return failed


def test_a_brief_shortage_is_made_up_for() -> None:
    budget = BatchBudget(16_384)
    while budget.tokens > 2:
        budget.out_of_memory(budget.tokens)
    steps = []
    for _ in range(13):
        assert work(budget, 10**6, RECOVERY_PASSES) == 0
        steps.append(budget.tokens)
    assert steps == [2**power for power in range(2, 15)]
    work(budget, 10**6, 100)
    assert budget.tokens == 16_384


def test_a_lasting_shortage_is_tried_less_and_less_often() -> None:
    budget = BatchBudget(LEARNED)
    assert work(budget, 32, 1) == 1
    failed = [work(budget, 32, 512) for _ in range(4)]
    assert failed[0] <= 6
    assert failed[-1] <= 1
    assert budget.tokens == 32


def test_small_passes_say_nothing() -> None:
    budget = BatchBudget(LEARNED)
    budget.out_of_memory(LEARNED)
    for _ in range(100):
        budget.passed(LEARNED // 4 - 1)
    assert budget.tokens == LEARNED // 2


class Short(FaultyBackend):
    """Fails in float32 only, for want of memory."""

    def forward_exact(self, sequences: TokenSequences) -> Rows:
        raise OutOfMemoryError


def engine(backend: FaultyBackend) -> Engine:
    return make_engine(backend, max_batch_tokens=LEARNED)


async def ask(running: Engine, count: int) -> None:
    assert (await running.run([text(1)] * count)).tolist() == [answer_of(1)] * count


async def test_passes_grow_again_after_a_shortage(caplog: pytest.LogCaptureFixture) -> None:
    backend = FaultyBackend()
    running = engine(backend)
    backend.room_tokens = 8
    await ask(running, 64)
    assert max(backend.sizes_tokens) == 8
    backend.room_tokens = 10**9
    with caplog.at_level(logging.INFO, logger="service.engine"):
        for _ in range(4):  # a request is planned when it comes
            backend.sizes_tokens.clear()
            await ask(running, 16 * LEARNED)
    assert max(backend.sizes_tokens) == LEARNED
    assert "batch size of tiny increased to 64 tokens" in caplog.text
    await asyncio.to_thread(running.close)


async def test_no_memory_for_float32_does_not_lower_the_budget() -> None:
    backend = Short()
    running = engine(backend)
    backend.nan = {2}
    requests = [running.run([text(number)] * 8) for number in (1, 2)]
    fine, refused = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(refused, ModelUnavailableError)
    assert "no memory to compute it in float32" in str(refused)
    assert not isinstance(fine, BaseException)
    assert running.local._batcher._budget.tokens == LEARNED
    await asyncio.to_thread(running.close)


async def test_one_text_that_does_not_fit_does_not_lower_the_budget() -> None:
    backend = FaultyBackend()
    running = engine(backend)
    backend.room_tokens = 3
    with pytest.raises(ModelUnavailableError, match="ran out of memory with an input of 4 tokens"):
        await running.run([text(1)])
    assert running.local._batcher._budget.tokens == LEARNED
    await asyncio.to_thread(running.close)
