"""The queue of imports: at most MAX_IMPORTS run at once, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

_POLL_S = 0.5


class ImportQueue:
    """At most `places` imports at once: in this process in the order of their coming, and of all workers together.

    Across processes a lock on one of `places` files in `folder` is the right to import; the system gives it back when
    its process ends, however it ends.
    """

    def __init__(self, places: int, folder: Path) -> None:
        self._places = places
        self._folder = folder
        self._own = asyncio.Semaphore(places)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place and keep it while the block runs. Cancelling leaves the queue."""
        async with self._own:
            lock = await self._lock()
            try:
                yield
            finally:
                if lock is not None:
                    lock.close()

    async def _lock(self) -> IO[bytes] | None:
        """A lock among the workers; None where the folder cannot be written, which the import will say."""
        while True:
            try:
                lock = await asyncio.to_thread(self._try)
            except OSError:
                return None
            if lock is not None:
                return lock
            await asyncio.sleep(_POLL_S)

    def _try(self) -> IO[bytes] | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for place in range(self._places):
            file = (self._folder / f"running.{place}.lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
            else:
                return file
        return None
