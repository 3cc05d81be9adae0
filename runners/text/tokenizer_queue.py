"""A fair queue for a model's tokenizer, which runs on one thread.

The texts of a request are divided into slices. The thread takes the next slice of the request with the fewest
remaining characters, so that a short text waits for one slice and not for a large request. Every `OLDEST_EVERY`th
slice comes from the request that has waited longest, so that many small requests cannot starve a large one. The
remaining slices of a cancelled request are dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from errors import OverloadedError, ServiceError, ShuttingDownError
from runners.devices import return_memory

SLICE_CHARACTERS = 65_536
"""The default for callers that do not know how much their tokenizer does in some tens of milliseconds."""
SLICE_ITEMS = 256
OLDEST_EVERY = 4
MAX_RETRY_AFTER_S = 60
_TRIMMED_CHARACTERS = 500_000

I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")


@dataclass(eq=False)
class _Work:
    """The waiting slices of one request, and the results of the others."""

    run: Callable[[Any], Any]
    slices: deque[tuple[Sequence[Any], int]]
    """Items and their number of characters."""
    future: asyncio.Future[list[Any]]
    loop: asyncio.AbstractEventLoop
    characters: int
    """Of the waiting slices."""
    last_turn: int
    """The turn of its last slice, or of its submission."""
    results: list[Any] = field(default_factory=list)

    def finish(self, error: BaseException | None = None) -> None:
        """Resolve the future with the results or an error; does nothing if it is cancelled."""
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed
            self.loop.call_soon_threadsafe(_resolve, self.future, self.results, error)


def _resolve(future: asyncio.Future[list[Any]], results: list[Any], error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(results)


class TokenizerQueue:
    """The thread and its waiting requests."""

    def __init__(self, name: str, *, max_characters: int, slice_characters: int = SLICE_CHARACTERS) -> None:
        self._max_characters = max_characters
        self._slice_characters = slice_characters
        self._lock = threading.Lock()
        self._waiting: list[_Work] = []
        self._running: _Work | None = None
        self._characters = 0
        self._turns = 0
        self._done_characters, self._busy_s = 0, 0.0
        self._since_trimmed = 0
        self._closed: ServiceError | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"tokenizer {name}")

    @property
    def waiting_characters(self) -> int:
        """Characters of all waiting slices."""
        return self._characters

    async def run(self, items: Sequence[I], work: Callable[[Sequence[I]], R], size: Callable[[I], int]) -> list[R]:
        """Apply `work` to consecutive slices of `items`; return their results in order. `size` gives an item's length.

        Raises OverloadedError if the queue is full. Cancellation drops the remaining slices.
        """
        loop = asyncio.get_running_loop()
        slices = divide(items, size, self._slice_characters)
        submitted = _Work(work, slices, loop.create_future(), loop, sum(count for _, count in slices), self._turns)
        if not slices:
            return []
        self._admit(submitted)
        try:
            return await submitted.future
        finally:
            self._withdraw(submitted)

    def abort(self, error: ServiceError) -> None:
        """Fail all requests with `error`, including the running one, and reject new ones."""
        with self._lock:
            self._closed = error
            failed = dict.fromkeys([*self._waiting, *([self._running] if self._running else [])])
            self._waiting, self._characters = [], 0
        for work in failed:
            work.finish(error)

    def close(self) -> None:
        """Fail all requests with ShuttingDownError, and stop the thread after its current slice."""
        self.abort(ShuttingDownError("The model was unloaded while the request waited. Try again."))
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _admit(self, work: _Work) -> None:
        with self._lock:
            if self._closed is not None:
                raise self._closed.with_traceback(None)
            if self._characters and self._characters + work.characters > self._max_characters:
                raise OverloadedError(
                    f"{self._characters} characters are queued for this model's tokenizer, and {work.characters} more "
                    f"would exceed the limit of {self._max_characters} (MAX_QUEUED_CHARACTERS). Try again later.",
                    retry_after_s=self._retry_after_s(),
                )
            work.last_turn = self._turns
            self._waiting.append(work)
            self._characters += work.characters
            for _ in work.slices:
                self._thread.submit(self._turn)

    def _withdraw(self, work: _Work) -> None:
        """Drop a request's waiting slices."""
        with self._lock:
            if work in self._waiting:
                self._waiting.remove(work)
                self._characters -= work.characters

    def _turn(self) -> None:
        """Tokenise one slice; runs on the thread."""
        with self._lock:
            if not self._waiting:
                return  # a request was cancelled
            work = self._next()
            items, characters = work.slices.popleft()
            work.characters -= characters
            self._characters -= characters
            if not work.slices:
                self._waiting.remove(work)
            self._running = work
        started = time.perf_counter()
        try:
            work.results.append(work.run(items))
        except BaseException as error:  # the caller gets it, and the thread continues
            self._withdraw(work)
            work.finish(error)
        else:
            if not work.slices:
                work.finish()
        self._running = None
        self._busy_s += time.perf_counter() - started
        self._done_characters += characters
        self._trim(characters)

    def _trim(self, characters: int) -> None:
        """Return memory to the system after a large request: tokenisation takes some hundred bytes per token."""
        self._since_trimmed += characters
        if self._since_trimmed >= _TRIMMED_CHARACTERS and not self._waiting:
            self._since_trimmed = 0
            return_memory()

    def _next(self) -> _Work:
        self._turns += 1
        if self._turns % OLDEST_EVERY == 0:
            chosen = min(self._waiting, key=lambda work: work.last_turn)
        else:
            chosen = min(self._waiting, key=lambda work: work.characters)
        chosen.last_turn = self._turns
        return chosen

    def _retry_after_s(self) -> int:
        """Estimated seconds until half of the queue is done."""
        if not self._done_characters:
            return 1
        seconds = self._characters / 2 * self._busy_s / self._done_characters
        return max(1, min(MAX_RETRY_AFTER_S, round(seconds)))


def divide(items: Sequence[I], size: Callable[[I], int], most: int) -> deque[tuple[Sequence[I], int]]:
    """Divide items into slices of at most `most` characters, or of one longer item, with their character counts."""
    slices: deque[tuple[Sequence[I], int]] = deque()
    start, characters = 0, 0
    for index, item in enumerate(items):
        more = size(item)
        if index > start and (characters + more > most or index - start == SLICE_ITEMS):
            slices.append((items[start:index], characters))
            start, characters = index, 0
        characters += more
    if len(items) > start:
        slices.append((items[start:], characters))
    return slices
