"""A model's place in the pool, from the first request for it on, and what the pool asks of others."""

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

MemoryNeeded = Callable[[ModelSpec, StoredModel], int]
"""Bytes that loading a model takes, before it is loaded."""
Incomplete = Callable[[StoredModel], bool]
"""Whether a stored model still has to be converted for this machine's engine: importing it again does so."""
Obstacle = Callable[[ModelSpec], str | None]
"""Why a model cannot be served on this machine, in one sentence; None where it can."""
Import = Callable[[ModelSpec, Callable[[float], None]], Awaitable[None]]
"""Brings a model into the store; reports progress from 0 to 1; ModelUnavailableError where it can't."""


class Load(Protocol):
    """Loads a stored model, or sets up one that is forwarded and has nothing in the store."""

    def __call__(self, spec: ModelSpec, stored: StoredModel | None, /, *, memory: DeviceMemory) -> LoadedModel:
        """Its passes share `memory` with those of other models."""
        ...


@dataclass
class Entry:
    """A model's place in the pool."""

    task: asyncio.Task[LoadedModel] | None = None
    fetching: asyncio.Task[StoredModel] | None = None
    """The import that is under way; a load waits for it, and it may go on without one."""
    loading_since: float | None = None
    """When the loading thread took it up, while it is at it."""
    importing: bool = False
    queued: bool = False
    """Whether the import has not begun yet, because others run (import_queue.py)."""
    import_waiters: int = 0
    """Those who wait for the import and not for the model."""
    progress: float | None = None
    failed_at: float = float("-inf")
    failure: ServiceError | None = None
    in_use: int = 0
    last_used: float = 0.0
    pinned: bool = False
    faults: int = 0
    """How often the model was given up of late (watchdog.py)."""
    faulted_at: float = float("-inf")
    leaving: asyncio.Event | None = None
    """While the model makes room for another one: new requests wait until it is gone, then load it anew."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> LoadedModel | None:
        """The model, once it is in memory."""
        done = self.task is not None and self.task.done() and not self.task.cancelled()
        return self.task.result() if self.task is not None and done and self.task.exception() is None else None

    def forget_import(self) -> None:
        """No import is under way any more."""
        self.importing, self.queued, self.progress, self.fetching = False, False, None, None

    def leave_queue(self) -> None:
        """Give up an import that has not begun once the last one who waits for it has left."""
        if not self.queued or self.in_use or self.import_waiters:
            return
        under_way = [task for task in (self.task, self.fetching) if task is not None]
        self.task = None
        self.forget_import()
        for task in under_way:
            task.cancel()

    @property
    def evictable(self) -> bool:
        """Whether the model may go. One that computes for waiters that left would keep whoever closes it waiting."""
        model = self.model
        busy = model is not None and model.engine is not None and model.engine.stalled_s > 0
        return model is not None and not (busy or self.in_use or self.pinned)


class NoRoom(Exception):  # noqa: N818  # not a failure: there may be room at any time
    """Everything that is in memory is in use; the words are for the client."""


async def share(task: asyncio.Future[T]) -> T:
    """The result of what goes on for the others when one waiter gives up."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
        raise ShuttingDownError("The service is going down. Try again.") from None
