"""The loop that runs batches in the background, one at a time in each process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection

from batches.files import FileStore
from batches.objects import ENDED, BatchEndpoint
from batches.running import BatchRun, Tools
from batches.store import BatchStore

logger = logging.getLogger("service.batches")

_POLL_S = 2.0
"""How often batches that other processes created or left are noticed."""
_CLEAN_S = 600.0
"""How often what has expired is deleted."""


class BatchRunner:
    """Runs the batches of a store for the endpoints that this process serves."""

    def __init__(
        self, files: FileStore, batches: BatchStore, tools: Tools, *, endpoints: Collection[BatchEndpoint]
    ) -> None:
        self._files = files
        self._batches = batches
        self._tools = tools
        self._endpoints = endpoints
        self._created = asyncio.Event()
        self._cleaned_at = 0.0

    def wake(self) -> None:
        """Look for batches now instead of at the next poll."""
        self._created.set()

    async def run(self) -> None:
        """Run batches until the task is cancelled."""
        while True:
            self._created.clear()
            try:
                await self._clean()
                if await self.run_next():
                    continue
            except Exception as error:  # the next round retries; a message might quote user text
                logger.error("batches could not be continued (%s)", _reason(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._created.wait()

    async def run_next(self) -> bool:
        """Run the oldest unfinished batch that no other process runs; False if there is none."""
        for batch in await asyncio.to_thread(lambda: list(self._batches.unfinished())):
            if batch["endpoint"] not in self._endpoints:
                continue
            with self._batches.lease(batch["id"]) as leased:
                if leased is not None and leased.batch["status"] not in ENDED:
                    await BatchRun(leased, self._files, self._tools).run()
                    return True
        return False

    async def _clean(self) -> None:
        now = self._tools.clock()
        if now - self._cleaned_at >= _CLEAN_S:
            self._cleaned_at = now
            await asyncio.to_thread(self._files.clean)
            await asyncio.to_thread(self._batches.clean)


def _reason(error: BaseException) -> str:
    """The kind of the first error in a group, and the system's message if it is one of the system's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error.strerror) if isinstance(error, OSError) else type(error).__name__
