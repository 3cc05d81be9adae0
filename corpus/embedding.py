"""Embed rows with concurrent requests: rows -> batches -> requests -> parts, in the order of the input."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from corpus.client import Answer, Client
from corpus.columns import Output
from corpus.parts import PartWriter
from corpus.problems import CorpusError, StoppedError
from corpus.progress import Busy, Progress
from corpus.rows import Row, Rows

BATCH_TEXT_BYTES = 128 * 2**10
"""Maximum text of one request: about 30,000 tokens, so that a few requests stay far below MAX_QUEUED_TOKENS."""
MULTI_VECTOR_TEXT_BYTES = 16 * 2**10
"""The same with token vectors: about 4,000 tokens, whose vectors take 16 MB with 1,024 dimensions."""

_AHEAD = 4
"""Batches in memory for each request in flight, so that others continue while the oldest is retried."""


@dataclass(frozen=True)
class Batch:
    """The rows of one request; `stop` is the number of the next input row."""

    rows: list[Row]
    stop: int


def text_bytes(outputs: Sequence[Output]) -> int:
    """Maximum text of one request for these outputs."""
    return MULTI_VECTOR_TEXT_BYTES if "multi_vector" in outputs else BATCH_TEXT_BYTES


def batches(rows: Rows, size: int, most_bytes: int = BATCH_TEXT_BYTES) -> Iterator[Batch]:
    """Group rows into batches of at most `size` texts and `most_bytes`; a longer text gets its own batch.

    Invalid rows are skipped, and count as part of the batch before them.
    """
    taken: list[Row] = []
    length, stop = 0, 0
    for row in rows:
        if isinstance(row, Row):
            row_bytes = len(row.text.encode())
            if taken and (len(taken) == size or length + row_bytes > most_bytes):
                yield Batch(taken, stop)
                taken, length = [], 0
            taken.append(row)
            length += row_bytes
        stop = row.number + 1
    if taken:
        yield Batch(taken, stop)


@dataclass
class Embedding:
    """The embedding of the remaining rows of a corpus."""

    client: Client
    writer: PartWriter
    progress: Progress
    parallel: int
    busy: Busy = field(default_factory=Busy)
    _signal: int = 0
    _window: deque[tuple[Batch, asyncio.Task[Answer]]] = field(default_factory=deque)

    async def run(self, work: Iterator[Batch]) -> None:
        """Embed all batches. If it ends early, the completed vectors up to the first missing one are written first."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number, stopped)
        stopping = asyncio.create_task(stopped.wait())
        watching = asyncio.create_task(self.busy.watch(self.client))
        try:
            await self._embed(work, stopping)
            self.busy.note(await self.client.compute_seconds(), time.monotonic())
        finally:
            for task in (stopping, watching, *(task for _, task in self._window)):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, CorpusError):
                    await task
        if self._signal:
            raise StoppedError(f"Stopped by {signal.Signals(self._signal).name}.", self._signal)

    def _stop(self, number: int, stopped: asyncio.Event) -> None:
        self._signal = number
        stopped.set()

    async def _embed(self, work: Iterator[Batch], stopping: asyncio.Task[bool]) -> None:
        slots = asyncio.Semaphore(self.parallel)

        async def send(batch: Batch) -> Answer:
            async with slots:
                return await self.client.embed(batch.rows)

        problem: CorpusError | None = None
        exhausted = False
        while not self._signal:
            while not exhausted and len(self._window) < _AHEAD * self.parallel:
                if (batch := await asyncio.to_thread(next, work, None)) is None:
                    exhausted = True
                else:
                    self._window.append((batch, asyncio.create_task(send(batch))))
            if not self._window:
                break
            await asyncio.wait({self._window[0][1], stopping}, return_when=asyncio.FIRST_COMPLETED)
            try:
                self._collect()
            except CorpusError as error:
                problem = error
                break
            if self.writer.due:
                await asyncio.to_thread(self.writer.write)
        await asyncio.to_thread(self.writer.write)
        if problem is not None:
            raise problem

    def _collect(self) -> None:
        """Pass completed answers to the writer, in order, until a part is due."""
        while self._window and self._window[0][1].done() and not self.writer.due:
            batch, task = self._window.popleft()
            answer = task.result()
            self.writer.add(answer, [row.id for row in batch.rows], batch.stop)
            self.progress.add(len(batch.rows), answer.tokens)
