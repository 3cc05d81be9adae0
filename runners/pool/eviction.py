"""Eviction: reserve memory for a model, unloading others if necessary."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping

from models.catalog import ModelSpec
from runners.loaded_model import LoadedModel
from runners.pool.entry import Entry, NotEnoughMemoryError
from runners.pool.memory import DeviceMemory

Unload = Callable[[str, Entry, str], Awaitable[object]]
"""Unloads a model; the third argument is the reason."""
Drain = Callable[[str, Entry, str], Awaitable[bool]]
"""Unloads a model once its requests are done; False if that takes too long."""


class ModelMemory:
    """The memory of a device that models take, and reservations for models that are being loaded."""

    def __init__(self, memory: DeviceMemory, entries: Mapping[str, Entry], unload: Unload, drain: Drain) -> None:
        self._memory = memory
        self._entries = entries
        self._unload = unload
        self._drain = drain
        self._reserved: dict[str, int] = {}
        """Bytes of the models that are being loaded, by name."""
        self._closing = 0
        """Bytes of the models that are being closed."""
        self._changed = asyncio.Event()
        """Set when a load or a close ends."""

    async def reserve(self, spec: ModelSpec, needed: int) -> None:
        """Unload the least recently used models until `needed` bytes fit the budget, and reserve them for this model.

        Raises NotEnoughMemoryError, and unloads nothing, if unloading all unpinned models would not suffice. Loads that
        fit do not wait for one that must drain a model first.
        """
        while (missing := self._missing(needed)) > 0:
            unpinned = [item for item in self._entries.items() if _bytes(item[1]) and not item[1].pinned]
            missing -= sum(_bytes(entry) for _, entry in unpinned)
            if missing > self._closing + sum(self._reserved.values()):
                raise self._error(spec, needed)
            if missing > 0 or self._closing:  # models that are being closed or loaded may free enough
                self._changed.clear()
                await self._changed.wait()
                continue
            unused = [item for item in evictable(self._entries) if item in unpinned]
            if unused:
                await self._unload(*unused[0], "room")
            elif not await self._drain(*min(unpinned, key=lambda item: item[1].last_used), "room"):
                raise self._error(spec, needed)
        self._reserved[spec.name] = needed

    @property
    def free(self) -> int:
        """Bytes of the budget that no model takes; passes may use them for now."""
        return max(0, self._memory.budget - self._used() - sum(self._reserved.values()))

    def release(self, spec: ModelSpec) -> None:
        """Release a model's reservation, once its load has ended."""
        self._reserved.pop(spec.name, None)
        self._changed.set()

    @contextlib.contextmanager
    def closing(self, model: LoadedModel) -> Iterator[None]:
        """Count the memory of a model until it is closed, although requests can no longer use it."""
        self._closing += model.memory_bytes
        try:
            yield
        finally:
            self._closing -= model.memory_bytes
            self._changed.set()
            self.update()

    def update(self, loaded: LoadedModel | None = None) -> None:
        """Update the share of the models in the device's memory; `loaded` is a model whose load has just ended."""
        self._memory.models = self._used() + (loaded.memory_bytes if loaded is not None else 0)

    def _missing(self, needed: int) -> int:
        """Bytes by which `needed` exceeds the free budget; 0 without a budget."""
        if not self._memory.budget:
            return 0
        used = self._used() + sum(self._reserved.values()) + self._memory.passes
        return used + needed - self._memory.budget

    def _used(self) -> int:
        return self._closing + sum(map(_bytes, self._entries.values()))

    def _error(self, spec: ModelSpec, needed: int) -> NotEnoughMemoryError:
        return NotEnoughMemoryError(
            f"{spec.name} needs about {needed / 1e9:.1f} GB, but the models in use leave less than that of the "
            f"{self._memory.budget / 1e9:.1f} GB budget (MEMORY_FRACTION). Try again later."
        )


def evictable(entries: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """Models that can be unloaded now, least recently used first."""
    free = [(name, entry) for name, entry in entries.items() if entry.evictable]
    return sorted(free, key=lambda item: item[1].last_used)


def _bytes(entry: Entry) -> int:
    return entry.model.memory_bytes if entry.model is not None else 0
