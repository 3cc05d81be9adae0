"""Room for a model: which others have to go, and what is promised to those that are on their way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping

from models.catalog import ModelSpec
from runners.loaded_model import LoadedModel
from runners.pool.entry import Entry, NoRoom
from runners.pool.memory import DeviceMemory

Unload = Callable[[str, Entry, str], Awaitable[object]]
"""Takes a model out of memory, for a reason."""
Drain = Callable[[str, Entry, str], Awaitable[bool]]
"""The same once its requests are done; False where that takes too long."""


class Room:
    """The part of a device's memory that models take, and how one gets some of it."""

    def __init__(self, memory: DeviceMemory, entries: Mapping[str, Entry], unload: Unload, drain: Drain) -> None:
        self._memory = memory
        self._entries = entries
        self._unload = unload
        self._drain = drain
        self._promised: dict[str, int] = {}
        """Bytes of the models that are being loaded, so that two loads do not count on the same room."""
        self._leaving = 0
        """Bytes of the models that are being closed."""
        self._changed = asyncio.Event()
        """A load or a close ended."""

    async def make(self, spec: ModelSpec, needed: int) -> None:
        """Unload the longest unused models until `needed` bytes fit the budget, and keep them for this model.

        NoRoom, with nothing unloaded, where all that could go would not be enough. Loads that find room do not wait
        for one that has to drain a model first.
        """
        while (lacking := self._lacking(needed)) > 0:
            unpinned = [item for item in self._entries.items() if _bytes(item[1]) and not item[1].pinned]
            lacking -= sum(_bytes(entry) for _, entry in unpinned)
            if lacking > self._leaving + sum(self._promised.values()):
                raise self._refusal(spec, needed)
            if lacking > 0 or self._leaving:  # what is on its way out, or in, may make the difference
                self._changed.clear()
                await self._changed.wait()
                continue
            unused = [item for item in evictable(self._entries) if item in unpinned]
            if unused:
                await self._unload(*unused[0], "room")
            elif not await self._drain(*min(unpinned, key=lambda item: item[1].last_used), "room"):
                raise self._refusal(spec, needed)
        self._promised[spec.name] = needed

    def keep_no_longer(self, spec: ModelSpec) -> None:
        """The load that room was made for ended, in one way or the other."""
        self._promised.pop(spec.name, None)
        self._changed.set()

    @contextlib.contextmanager
    def until_closed(self, model: LoadedModel) -> Iterator[None]:
        """While a model is being closed it takes its memory, though requests do not find it any more."""
        self._leaving += model.memory_bytes
        try:
            yield
        finally:
            self._leaving -= model.memory_bytes
            self._changed.set()
            self.count()

    def count(self, arriving: LoadedModel | None = None) -> None:
        """Tell the passes how much the models take; `arriving` is one whose load is just done."""
        self._memory.models = self._loaded() + (arriving.memory_bytes if arriving is not None else 0)

    def _lacking(self, needed: int) -> int:
        """Bytes that are missing for a model that needs so many; none where there is no budget."""
        if not self._memory.budget:
            return 0
        taken = self._loaded() + sum(self._promised.values()) + self._memory.passes
        return taken + needed - self._memory.budget

    def _loaded(self) -> int:
        return self._leaving + sum(map(_bytes, self._entries.values()))

    def _refusal(self, spec: ModelSpec, needed: int) -> NoRoom:
        return NoRoom(
            f"{spec.name} needs about {needed / 1e9:.1f} GB, and the models in use leave less than that of the "
            f"{self._memory.budget / 1e9:.1f} GB budget (MEMORY_FRACTION). Try again later."
        )


def evictable(entries: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """Models in memory that no request uses and that are not pinned, the longest unused first."""
    free = [(name, entry) for name, entry in entries.items() if entry.evictable]
    return sorted(free, key=lambda item: item[1].last_used)


def _bytes(entry: Entry) -> int:
    return entry.model.memory_bytes if entry.model is not None else 0
