"""Whose texts are tokenised next, with a tokenizer that waits to be let through."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from errors import OverloadedError, ShuttingDownError
from runners.engine import Engine
from runners.rerank import RerankRunner
from runners.text.templates import read_template
from runners.text.tokenization import Rules, TextTokenizer
from runners.text.tokenizer_queue import OLDEST_EVERY, SLICE_ITEMS, TokenizerQueue, divide
from tests.unit.fakes import PATIENCE_S, FakeBackend, Gate, LetterTokenizer, make_engine, until

SLICE = 10


class Slow(Gate):
    """Work that takes until it is let through; `log` has the first item of each slice that began."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.threads: set[str] = set()

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.log.append(items[0])
        self.threads.add(threading.current_thread().name)
        self.enter()
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    slow = Slow()
    yield slow
    slow.let(10_000)


@pytest.fixture
async def queue(slow: Slow) -> AsyncIterator[TokenizerQueue]:
    queue = TokenizerQueue("test", max_characters=10_000, slice_characters=SLICE)
    yield queue
    slow.let(10_000)
    await asyncio.to_thread(queue.close)


def ask(queue: TokenizerQueue, slow: Slow, *items: str) -> asyncio.Task[list[list[str]]]:
    return asyncio.create_task(queue.run(items, slow, len))


async def submitted(queue: TokenizerQueue, characters: int) -> None:
    await until(lambda: queue.waiting_characters == characters)


def large(name: str, slices: int) -> list[str]:
    """Items that make so many slices: a0, a1, ..."""
    return [f"{name}{number}".ljust(SLICE) for number in range(slices)]


async def test_a_short_text_waits_for_one_slice_of_a_large_request(queue: TokenizerQueue, slow: Slow) -> None:
    first = ask(queue, slow, *large("a", 50))
    await slow.begun()
    second = ask(queue, slow, "short")
    await submitted(queue, 49 * SLICE + 5)
    slow.let(2)
    assert await asyncio.wait_for(second, PATIENCE_S) == [["SHORT"]]
    assert [name.strip() for name in slow.log[:2]] == ["a0", "short"]
    slow.let(49)
    results = await asyncio.wait_for(first, PATIENCE_S)
    assert [item for part in results for item in part] == [item.upper() for item in large("a", 50)]


async def test_the_request_with_the_fewest_characters_left_is_next(queue: TokenizerQueue, slow: Slow) -> None:
    requests = [ask(queue, slow, "first")]
    await slow.begun()
    requests += [ask(queue, slow, *large(name, slices)) for name, slices in (("b", 3), ("c", 1), ("d", 2))]
    await submitted(queue, 6 * SLICE)
    slow.let(7)
    await asyncio.wait_for(asyncio.gather(*requests), PATIENCE_S)
    order = [name.strip() for name in slow.log]
    assert order[:3] == ["first", "c0", "d0"]
    assert order[3] == "b0"  # the oldest's turn
    assert order[4:] == ["d1", "b1", "b2"]


async def test_a_large_request_moves_on_beside_any_number_of_short_ones(queue: TokenizerQueue, slow: Slow) -> None:
    big = ask(queue, slow, *large("a", 10))
    await slow.begun()
    short = []
    while sum(name.startswith("a") for name in slow.log) < 10:
        if slow.log[-1] == "s" or len(slow.log) == 1:  # there is always one that waits
            waiting = queue.waiting_characters
            short.append(ask(queue, slow, "s"))
            await submitted(queue, waiting + 1)
        slow.let()
        await slow.begun()
    slow.let(100)
    await asyncio.wait_for(asyncio.gather(big, *short), PATIENCE_S)
    places = [index for index, name in enumerate(slow.log) if name.startswith("a")]
    assert {later - earlier for earlier, later in itertools.pairwise(places[1:])} == {OLDEST_EVERY}


async def test_a_client_that_leaves_takes_its_slices_along(queue: TokenizerQueue, slow: Slow) -> None:
    gone = ask(queue, slow, *large("a", 50))
    await slow.begun()
    stays = ask(queue, slow, *large("b", 60))
    await submitted(queue, 49 * SLICE + 60 * SLICE)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert queue.waiting_characters == 60 * SLICE
    slow.let(61)
    await asyncio.wait_for(stays, PATIENCE_S)
    assert len(slow.log) == 61
    assert queue.waiting_characters == 0


async def test_an_error_goes_to_its_own_request(queue: TokenizerQueue, slow: Slow) -> None:
    bad = ask(queue, slow, "bad".ljust(SLICE), "bad", *large("a", 5))
    await slow.begun()
    good = ask(queue, slow, "good")
    slow.let(100)
    with pytest.raises(ValueError, match="bad"):
        await asyncio.wait_for(bad, PATIENCE_S)
    assert await asyncio.wait_for(good, PATIENCE_S) == [["GOOD"]]
    assert await queue.run([], slow, len) == []  # nothing to do
    await until(lambda: queue.waiting_characters == 0)


async def test_more_than_may_wait_is_refused(slow: Slow) -> None:
    queue = TokenizerQueue("test", max_characters=25, slice_characters=SLICE)
    alone = ask(queue, slow, "x" * 1_000)  # nothing else waits, so that it may be as long as a body
    await slow.begun()
    waits = ask(queue, slow, "y" * 20)
    await submitted(queue, 20)
    with pytest.raises(
        OverloadedError, match=r"^20 characters are queued .* 6 more .* 25 \(MAX_QUEUED_CHARACTERS\)"
    ) as raised:
        await queue.run(["z" * 6], slow, len)
    assert raised.value.retry_after_s == 1
    slow.let(100)
    await asyncio.wait_for(asyncio.gather(alone, waits), PATIENCE_S)
    assert await queue.run(["z"], slow, len) == [["Z"]]
    await asyncio.to_thread(queue.close)


async def test_closing_leaves_nobody_waiting(queue: TokenizerQueue, slow: Slow) -> None:
    first, second = ask(queue, slow, *large("a", 3)), ask(queue, slow, "b")
    await slow.begun()
    closing = asyncio.create_task(asyncio.to_thread(queue.close))
    for task in (first, second):
        with pytest.raises(ShuttingDownError):
            await asyncio.wait_for(task, PATIENCE_S)
    slow.let(100)
    await closing
    with pytest.raises(ShuttingDownError):
        await queue.run(["c"], slow, len)


@pytest.mark.parametrize(
    ("sizes", "slices"),
    [
        ([], []),
        ([5], [[5]]),
        ([4, 4, 4], [[4, 4], [4]]),
        ([10, 1], [[10], [1]]),
        ([50, 1, 1], [[50], [1, 1]]),
        ([0] * (SLICE_ITEMS + 1), [[0] * SLICE_ITEMS, [0]]),
    ],
)
def test_items_are_divided_in_order(sizes: list[int], slices: list[list[int]]) -> None:
    divided = divide(sizes, lambda size: size, SLICE)
    assert [list(items) for items, _ in divided] == slices
    assert [characters for _, characters in divided] == [sum(items) for items in slices]


class SlowTokenizer(LetterTokenizer):
    """Waits to be let through on every thread whose name has `gated` in it; short texts are read inline."""

    def __init__(self, slow: Slow, gated: str) -> None:
        self._slow = slow
        self._gated = gated

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if self._gated in threading.current_thread().name:
            self._slow(texts)
        return super().encode(texts)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.encode(texts)]


@pytest.fixture(params=["tokenizer"])
async def engine(request: pytest.FixtureRequest, slow: Slow) -> AsyncIterator[Engine]:
    """The threads that are gated are those of the queue, unless a test names others."""
    plain = SlowTokenizer(slow, request.param)
    tokenizer = TextTokenizer(plain, read_template(plain, closing=()), Rules(max_tokens=8, vocabulary=200))
    running = make_engine(FakeBackend(), tokenizer)
    yield running
    slow.let(10_000)
    await asyncio.to_thread(running.close)


@pytest.mark.parametrize("engine", ["no thread"], indirect=True)
async def test_slices_give_what_one_call_gives(engine: Engine, slow: Slow) -> None:
    texts = [letter * count for letter in "abcdefgh" for count in (1, 5, 3_000, 70_000)]
    encoded = await engine.encode_texts(texts, "z", "end")
    assert (encoded.sequences, encoded.truncated) == engine.tokenizer.encode_texts(texts, "z")
    pairs = await engine.encode_pairs("ab" * 40_000, texts, "", "end")
    assert (pairs.sequences, pairs.truncated) == engine.tokenizer.encode_pairs("ab" * 40_000, texts)
    short = await engine.shorten(texts, 4)
    assert short == engine.tokenizer.shorten(texts, 4)


async def test_a_short_passage_is_not_kept_waiting_by_thousands(engine: Engine, slow: Slow) -> None:
    bulk = asyncio.create_task(engine.encode_texts(["a" * 28_000] * 2_048, "", "end"))
    await slow.begun()
    passage = asyncio.create_task(engine.encode_texts(["b" * 637], "", "end"))
    await until(lambda: engine._tokenizing.waiting_characters % 28_000 == 637)
    slow.let(2)
    assert len((await asyncio.wait_for(passage, PATIENCE_S)).sequences) == 1
    bulk.cancel()
    slow.let(1)
    with pytest.raises(asyncio.CancelledError):
        await bulk
    assert engine._tokenizing.waiting_characters == 0


async def test_counting_waits_for_nothing_else_and_nothing_for_it(engine: Engine, slow: Slow) -> None:
    vectors = asyncio.create_task(engine.encode_texts(["a" * 28_000], "", "end"))
    counts = asyncio.create_task(engine.count(["b" * 28_000], engine.tokenizer.count))
    await slow.begun(2)
    assert len(slow.threads) == 2
    slow.let(2)
    assert (await counts, len((await vectors).sequences)) == ([[28_002]], 1)


@pytest.mark.parametrize("engine", ["aside"], indirect=True)
async def test_a_very_long_text_delays_no_other(engine: Engine, slow: Slow) -> None:
    requests = [
        asyncio.create_task(engine.encode_texts(["a", "b" * 66_000], "", "end")),
        asyncio.create_task(engine.encode_pairs("c" * 66_000, ["d"], "", "end")),
        asyncio.create_task(engine.shorten(["e" * 66_000], 3)),
    ]
    await slow.begun()
    passage = asyncio.create_task(engine.encode_texts(["b" * 637], "", "end"))
    assert len((await asyncio.wait_for(passage, PATIENCE_S)).sequences) == 1
    slow.let(100)
    await asyncio.wait_for(asyncio.gather(*requests), PATIENCE_S)


async def test_giving_up_answers_requests_that_are_being_tokenised(engine: Engine, slow: Slow) -> None:
    waiting = asyncio.create_task(RerankRunner(engine).rerank("q", ["a" * 9_000] * 100))
    await slow.begun()
    engine.abort(ShuttingDownError("The service is shutting down."))
    with pytest.raises(ShuttingDownError):
        await asyncio.wait_for(waiting, PATIENCE_S)
