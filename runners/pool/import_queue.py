"""The queue of imports: at most MAX_IMPORTS run at once, each in a child process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

_POLL_S = 0.5


class ImportQueue:
    """Limits concurrent imports to `slots`, over all worker processes; first come, first served within a process.

    An import holds a lock on one of `slots` files in `folder`; the system releases it when the process ends.
    """

    def __init__(self, slots: int, folder: Path) -> None:
        self._slots = slots
        self._folder = folder
        self._semaphore = asyncio.Semaphore(slots)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it while the block runs. Cancellation leaves the queue."""
        async with self._semaphore:
            lock = await self._lock()
            try:
                yield
            finally:
                if lock is not None:
                    lock.close()

    async def _lock(self) -> IO[bytes] | None:
        """Lock a slot for this process; None if the folder cannot be written, which the import will report."""
        while True:
            try:
                lock = await asyncio.to_thread(self._try_lock)
            except OSError:
                return None
            if lock is not None:
                return lock
            await asyncio.sleep(_POLL_S)

    def _try_lock(self) -> IO[bytes] | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for slot in range(self._slots):
            file = (self._folder / f"running.{slot}.lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                return file
        return None
