"""The state of a model in the pool, and the types of the pool's callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from errors import ServiceError, ShuttingDownError
from models.catalog import ModelSpec
from models.store import StoredModel
from runners.loaded_model import LoadedModel
from runners.pool.memory import DeviceMemory

T = TypeVar("T")

MemoryNeeded = Callable[[StoredModel], int]
"""Estimates the bytes that a model will take once it is loaded."""
NeedsExport = Callable[[StoredModel], bool]
"""Whether a stored model must be imported again, to convert it for this machine's engine."""
UnavailableReason = Callable[[ModelSpec], str | None]
"""Why this machine cannot serve a model; None if nothing is known to prevent it."""
Import = Callable[[ModelSpec, Callable[[float], None]], Awaitable[None]]
"""Imports a model into the store, reporting progress from 0 to 1; raises ModelUnavailableError on failure."""


class Load(Protocol):
    """Loads a stored model, or sets up a forwarded one, which is not in the store."""

    def __call__(self, spec: ModelSpec, stored: StoredModel | None, /, *, memory: DeviceMemory) -> LoadedModel:
        """Load the model; its passes share `memory` with those of other models."""
        ...


@dataclass
class Entry:
    """The state of a model in the pool."""

    task: asyncio.Task[LoadedModel] | None = None
    fetching: asyncio.Task[StoredModel] | None = None
    """The running import; it may continue without a load that waits for it."""
    loading_since: float | None = None
    """When the loading thread started to load the model; None while it does not."""
    importing: bool = False
    queued: bool = False
    """Whether the import waits for other imports (import_queue.py)."""
    import_waiters: int = 0
    """Callers that wait for the import only, not for the model."""
    progress: float | None = None
    failed_at: float = float("-inf")
    failure: ServiceError | None = None
    in_use: int = 0
    last_used: float = 0.0
    pinned: bool = False
    faults: int = 0
    """Recent faults after which the model was abandoned (watchdog.py)."""
    faulted_at: float = float("-inf")
    draining: asyncio.Event | None = None
    """Set while the model is drained: new requests wait for this event, then load the model again."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> LoadedModel | None:
        """The model if it is in memory."""
        return None if self.task is None else result_of(self.task)

    def take(self) -> None:
        """Count a user of the model, which is not unloaded meanwhile."""
        self.in_use += 1
        self.idle.clear()

    def give_back(self, now: float) -> None:
        """Count a user of the model less."""
        self.in_use -= 1
        self.last_used = now
        if not self.in_use:
            self.idle.set()
            self.cancel_unwanted_import()

    def clear_import(self) -> None:
        """Reset the state of the import."""
        self.importing, self.queued, self.progress, self.fetching = False, False, None, None

    def cancel_unwanted_import(self) -> None:
        """Cancel a queued import if no caller waits for it any more."""
        if not self.queued or self.in_use or self.import_waiters:
            return
        tasks = [task for task in (self.task, self.fetching) if task is not None]
        self.task = None
        self.clear_import()
        for task in tasks:
            task.cancel()

    @property
    def evictable(self) -> bool:
        """Whether the model may be unloaded now. Closing one that is computing would block."""
        model = self.model
        busy = model is not None and model.compute is not None and model.compute.stalled_s > 0
        return model is not None and not (busy or self.in_use or self.pinned)


class NotEnoughMemoryError(Exception):
    """The models in memory are in use; the message is for the client. Another attempt may succeed at any time."""


def result_of(task: asyncio.Future[T]) -> T | None:
    """The result of a task; None if it is not done or has failed."""
    return task.result() if task.done() and not task.cancelled() and task.exception() is None else None


async def share(task: asyncio.Future[T]) -> T:
    """Await a shared task; cancelling one caller does not cancel the task."""
    if task.done() and not task.cancelled():
        return task.result()  # almost always: a model is loaded once and used often
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
        raise ShuttingDownError("The service is shutting down. Try again.") from None
