"""Batches: their objects, and the lease of the process that runs one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

from batches.files import DAY_S, Clock
from batches.objects import BATCH, ENDED, Batch, BatchEndpoint, is_id, new_id, read_json, write_json
from errors import InvalidRequestError, ObjectNotFoundError
from models.files import link

WINDOW_S = {"24h": 24 * 3600}
"""Completion window -> seconds. OpenAI offers only one."""
_CANCELLABLE = ("validating", "in_progress")


class BatchStore:
    """The batches below one folder. Methods access the disk; call them off the event loop."""

    def __init__(self, folder: Path, *, max_age_s: float, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_age_s = max_age_s
        self._clock = clock
        self._ended: set[str] = set()
        """Batches that need not be read again to know that they have ended."""

    def create(
        self,
        endpoint: BatchEndpoint,
        *,
        input_file_id: str,
        content: Path,
        metadata: Mapping[str, str] | None = None,
        window: Literal["24h"] = "24h",
    ) -> Batch:
        """A new batch with its own link to the `content` of its input file."""
        now = self._clock()
        batch: Batch = {
            "id": new_id("batch_", now),
            "object": "batch",
            "endpoint": endpoint,
            "errors": None,
            "input_file_id": input_file_id,
            "completion_window": window,
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(now),
            "in_progress_at": None,
            "expires_at": int(now) + WINDOW_S[window],
            "finalizing_at": None,
            "completed_at": None,
            "failed_at": None,
            "expired_at": None,
            "cancelling_at": None,
            "cancelled_at": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": None if metadata is None else dict(metadata),
        }
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._folder))
        try:
            try:
                link(content, draft / "input.jsonl")
            except FileNotFoundError:
                raise ObjectNotFoundError("The input file has been deleted.", param="input_file_id") from None
            write_json(draft / "batch.json", batch)
            os.rename(draft, self._folder / batch["id"])
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return batch

    def get(self, batch_id: str) -> Batch:
        """A batch; ObjectNotFoundError."""
        batch = read_json(self._folder / batch_id / "batch.json", BATCH) if is_id(batch_id, "batch_") else None
        if batch is None:
            raise ObjectNotFoundError("There is no batch with this id. GET /v1/batches lists all batches.", param="id")
        if batch["status"] in _CANCELLABLE:
            batch["cancelling_at"] = _cancelling_at(self._folder / batch_id)
        if batch["cancelling_at"] is not None and batch["status"] not in ENDED:
            batch["status"] = "cancelling"
        if batch["status"] not in ENDED:
            batch["output_file_id"] = batch["error_file_id"] = None  # not published yet
        return batch

    def page(self, *, limit: int, after: str | None = None) -> tuple[list[Batch], bool]:
        """Up to `limit` batches behind the id `after`, newest first, and whether there are more."""
        behind = (each for each in reversed(self._ids()) if after is None or each < after)
        found = list(islice((batch for each in behind if (batch := self._find(each))), limit + 1))
        return found[:limit], len(found) > limit

    def cancel(self, batch_id: str) -> Batch:
        """Ask the process that runs a batch to stop; InvalidRequestError if the batch has ended."""
        batch = self.get(batch_id)
        if batch["status"] in _CANCELLABLE:
            with contextlib.suppress(FileExistsError):  # another request was first
                (self._folder / batch_id / "cancel").touch(exist_ok=False)
            batch = self.get(batch_id)
        if batch["status"] not in ("cancelling", "cancelled"):
            raise InvalidRequestError(f"A batch with the status {batch['status']} cannot be cancelled.", param="id")
        return batch

    def unfinished(self) -> Iterator[Batch]:
        """The batches that have not ended, oldest first."""
        for batch_id in self._ids():
            if batch_id in self._ended or (batch := self._find(batch_id)) is None:
                continue
            if batch["status"] in ENDED:
                self._ended.add(batch_id)
            else:
                yield batch

    @contextlib.contextmanager
    def lease(self, batch_id: str) -> Iterator[LeasedBatch | None]:
        """Hold the lease of a batch during the block; None if another process has it, or if the batch is gone.

        It is a lock on a file, which the system releases when the process ends, however it ends.
        """
        folder = self._folder / batch_id
        try:
            file = (folder / "lease").open("ab")
        except FileNotFoundError:
            yield None
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            batch = read_json(folder / "batch.json", BATCH)  # it may have changed before the lock
            yield None if batch is None else LeasedBatch(folder, batch)

    def clean(self) -> None:
        """Delete batches that ended long ago, and what interrupted calls left a day ago."""
        now = self._clock()
        for folder in self._folder.iterdir():
            batch = self._find(folder.name)
            if batch is not None and batch["status"] in ENDED and batch["created_at"] + self._max_age_s <= now:
                self._ended.discard(batch["id"])
                shutil.rmtree(folder, ignore_errors=True)
            elif batch is None:
                with contextlib.suppress(FileNotFoundError):
                    if folder.stat().st_mtime < now - DAY_S:
                        shutil.rmtree(folder, ignore_errors=True)

    def _ids(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob("batch_*"))

    def _find(self, batch_id: str) -> Batch | None:
        with contextlib.suppress(ObjectNotFoundError):
            return self.get(batch_id)
        return None


class LeasedBatch:
    """A batch that only this process changes."""

    def __init__(self, folder: Path, batch: Batch) -> None:
        self.folder = folder
        self.batch = batch

    @property
    def input(self) -> Path:
        """The input file."""
        return self.folder / "input.jsonl"

    @property
    def cancelling_at(self) -> int | None:
        """When a client cancelled the batch; None if no client has."""
        return _cancelling_at(self.folder)

    def save(self) -> None:
        """Store the object."""
        write_json(self.folder / "batch.json", self.batch)

    def begin(self) -> Counter[int] | None:
        """Note that this process computes lines, until `pause`. None if the previous process called `pause`.

        Otherwise it was killed, perhaps by a line: how often each number was passed to `suspect`.
        """
        try:
            with self._running.open("x"):
                return None
        except FileExistsError:
            return Counter(map(int, self._running.read_text("ascii").split()))

    def suspect(self, number: int) -> None:
        """Note that a line is computed alone."""
        with self._running.open("a", encoding="ascii") as file:
            file.write(f"{number}\n")

    def pause(self) -> None:
        """Note that no line is being computed."""
        self._running.unlink(missing_ok=True)

    @property
    def _running(self) -> Path:
        return self.folder / "running"


def _cancelling_at(folder: Path) -> int | None:
    try:
        return int((folder / "cancel").stat().st_mtime)
    except FileNotFoundError:
        return None
