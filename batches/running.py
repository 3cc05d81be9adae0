"""One batch, from its current status to the last one: validate the lines, compute them, publish the answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import metrics
from batches.files import Clock, FileStore
from batches.lines import Limits, Line, Parse, Validation
from batches.objects import BatchEndpoint, Status
from batches.results import Results
from batches.store import LeasedBatch
from models.files import DISK_FULL

logger = logging.getLogger("service.batches")

T = TypeVar("T")

_POLL_S = 1.0
"""How often cancellation and expiry are noticed while lines are being computed."""
_SAVE_S = 1.0
"""How often the numbers of answered lines are stored."""
_DISK_FULL_S = 30.0
"""Time until a write to a full disk is tried again."""
_MAX_KILLED = 2
"""Processes that a line may have ended before it is left out."""
_BYTES_AT_ONCE = 2**20
_LINES_AT_ONCE = 256
_TEXTS_AT_ONCE = 4096
"""Limits of the lines that are computed at the same time, unless one line alone exceeds them: a second or two of work
for a GPU, whose answers, four thousand vectors, are 80 MB of JSON."""


@dataclass(frozen=True)
class Computed:
    """The response to a line, as an HTTP request would get it; or, with `retry_after_s`, no response yet."""

    custom_id: str
    status: int
    body: bytes
    retry_after_s: float | None = None


Compute = Callable[[BatchEndpoint, bytes], Awaitable[Computed]]
"""Computes a line of an input file that was validated."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What running a batch needs from the service."""

    compute: Compute
    parse: Parse
    limits: Limits
    clock: Clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class BatchRun:
    """The run of one batch by the process that holds its lease."""

    def __init__(self, leased: LeasedBatch, files: FileStore, tools: Tools) -> None:
        self._leased = leased
        self._batch = leased.batch
        self._files = files
        self._tools = tools
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        """For all that accesses the disk, in order."""
        self._saved_at = 0.0

    async def run(self) -> None:
        """Run the batch to its end. If the task is cancelled, what is done is kept."""
        with self._thread:
            if self._batch["status"] == "validating":
                await self._validate()
            if self._batch["status"] == "in_progress":
                await self._answer_lines()
            if self._batch["status"] == "finalizing":
                await self._publish()

    async def _validate(self) -> None:
        limits = self._tools.limits
        lines = limits.read(self._leased.input)
        check = Validation(lines, self._batch["endpoint"], limits, self._tools.parse)
        while await self._on_thread(check.proceed, _BYTES_AT_ONCE):
            if self._is_cancelled():
                break
        if self._is_cancelled():
            await self._enter("finalizing")
        elif check.problems:
            self._batch["errors"] = {"object": "list", "data": check.problems}
            await self._enter("failed")
            self._discard_input()
        else:
            self._batch["request_counts"]["total"] = check.total
            await self._enter("in_progress")

    async def _answer_lines(self) -> None:
        results = await self._on_thread(Results, self._leased.folder, self._batch["id"])
        try:
            killed = await self._on_thread(self._leased.begin)
            if killed is not None:
                await self._compute_singly(results, killed)
            await self._compute_lines(results)
            if self._batch["expired_at"]:
                await self._on_thread(self._expire_lines, results)
            await self._on_thread(self._count, results)  # after the last answer
        finally:
            self._thread.submit(results.close)
            self._thread.submit(self._leased.pause)
        if results.output.numbers:
            self._batch["output_file_id"] = self._files.new_id()
        if results.errors.numbers:
            self._batch["error_file_id"] = self._files.new_id()
        await self._enter("finalizing")

    async def _compute_singly(self, results: Results, killed: Counter[int]) -> None:
        """Compute the lines that a process was computing when it was killed: one of them may have exhausted the memory.

        `killed` counts the processes that were killed while they computed a line here.
        """
        for line in await self._on_thread(_next_lines, self._unanswered(results)):
            if self._ends_early():
                return
            if killed[line.number] < _MAX_KILLED:
                await self._on_thread(self._leased.suspect, line.number)
                await self._answer(line, results)
            else:
                message = "The process was killed each time it computed this request. Send fewer or shorter texts."
                await self._on_thread(self._add_error, results, line, "process_killed", message)

    def _add_error(self, results: Results, line: Line, code: str, message: str) -> None:
        results.add_error(line, self._tools.parse(line.content)["custom_id"], code, message)
        metrics.BATCH_LINES.labels("failed").inc()

    async def _compute_lines(self, results: Results) -> None:
        """Compute the lines without an answer, until all have one or the batch is cancelled or expires."""
        lines = self._unanswered(results)
        waiting: deque[Line] = deque()
        window = _Window()
        async with asyncio.TaskGroup() as group:
            while not self._ends_early():
                if not waiting:
                    waiting += await self._on_thread(_next_lines, lines)
                while waiting and window.has_room(waiting[0]):
                    line = waiting.popleft()
                    window.add(line, group.create_task(self._answer(line, results)))
                if not window:
                    return
                await window.change(_POLL_S)
                await self._save_counts(results)
            window.cancel()

    async def _answer(self, line: Line, results: Results) -> None:
        """Compute a line, again if it is refused for now, and write its answer."""
        compute, sleep = self._tools.compute, self._tools.sleep
        while (computed := await compute(self._batch["endpoint"], line.content)).retry_after_s is not None:
            await sleep(computed.retry_after_s)
        await self._on_thread(results.add, line, computed.custom_id, computed.status, computed.body)
        metrics.BATCH_LINES.labels("completed" if computed.status == 200 else "failed").inc()

    def _expire_lines(self, results: Results) -> None:
        message = "This request could not be executed before the completion window expired."
        for line in self._unanswered(results):
            self._add_error(results, line, "batch_expired", message)

    def _unanswered(self, results: Results) -> Iterator[Line]:
        return (line for line in self._tools.limits.read(self._leased.input) if line.number not in results.done)

    async def _publish(self) -> None:
        """Make files of the answers, and end the batch."""
        for name, file_id in (("output", self._batch["output_file_id"]), ("errors", self._batch["error_file_id"])):
            if file_id is not None:
                content = self._leased.folder / f"{name}.jsonl"
                with contextlib.suppress(FileNotFoundError):  # published before a restart, and deleted by a client
                    await self._on_thread(self._files.publish, content, f"{self._batch['id']}_{name}.jsonl", file_id)
        if self._batch["cancelling_at"]:
            await self._enter("cancelled")
        else:
            await self._enter("expired" if self._batch["expired_at"] else "completed")
        self._discard_input()

    def _is_cancelled(self) -> bool:
        self._batch["cancelling_at"] = self._leased.cancelling_at
        return self._batch["cancelling_at"] is not None

    def _ends_early(self) -> bool:
        if self._is_cancelled():
            return True
        now = int(self._tools.clock())
        if now >= self._batch["expires_at"]:
            self._batch["expired_at"] = now
            return True
        return False

    def _discard_input(self) -> None:
        self._leased.input.unlink(missing_ok=True)

    def _count(self, results: Results) -> None:
        self._batch["request_counts"]["completed"] = len(results.output.numbers)
        self._batch["request_counts"]["failed"] = len(results.errors.numbers)

    async def _save_counts(self, results: Results) -> None:
        if self._tools.clock() - self._saved_at >= _SAVE_S:
            self._count(results)
            await self._save()

    async def _save(self) -> None:
        self._saved_at = self._tools.clock()
        await self._on_thread(self._leased.save)

    async def _enter(self, status: Status) -> None:
        """Store a new status with its time."""
        now = int(self._tools.clock())
        batch, counts = self._batch, self._batch["request_counts"]
        batch["status"] = status
        batch |= {f"{status}_at": now}  # type: ignore[misc]  # all of these are fields
        await self._save()
        metrics.BATCHES.labels(status).inc()
        logger.info(
            "%s: %s (%d requests, %d completed, %d failed)",
            *(batch["id"], status, counts["total"], counts["completed"], counts["failed"]),
        )

    async def _on_thread(self, call: Callable[..., T], *arguments: object) -> T:
        """The result of `call` on the thread. While the disk is full, it is tried again."""
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                logger.warning("%s waits: %s (BATCH_DIR)", self._batch["id"], error.strerror)
            await self._tools.sleep(_DISK_FULL_S)


def _next_lines(lines: Iterator[Line]) -> list[Line]:
    """At least one line, and about as many as are computed at the same time; none at the end."""
    found: list[Line] = []
    size = 0
    for line in lines:
        found.append(line)
        size += len(line.content)
        if len(found) >= _LINES_AT_ONCE or size >= _BYTES_AT_ONCE:
            break
    return found


class _Window:
    """The lines that are being computed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._texts = 0
        self._changed = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def has_room(self, line: Line) -> bool:
        """Whether a line may be computed beside the others."""
        size, texts = _size(line)
        return not self._tasks or (
            len(self._tasks) < _LINES_AT_ONCE
            and self._bytes + size <= _BYTES_AT_ONCE
            and self._texts + texts <= _TEXTS_AT_ONCE
        )

    def add(self, line: Line, task: asyncio.Task[None]) -> None:
        """Add the task that computes a line, until it ends."""
        size, texts = _size(line)
        self._tasks.add(task)
        self._bytes += size
        self._texts += texts

        def remove(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            self._bytes -= size
            self._texts -= texts
            self._changed.set()

        task.add_done_callback(remove)

    async def change(self, timeout_s: float) -> None:
        """Wait until a line is done, or until the timeout."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 may lose a cancellation
                await self._changed.wait()
        self._changed.clear()

    def cancel(self) -> None:
        """Stop computing all lines."""
        for task in self._tasks:
            task.cancel()


def _size(line: Line) -> tuple[int, int]:
    """Bytes of a line, and an upper bound of its number of texts."""
    return len(line.content), 1 + line.content.count(b",")
