"""The pool of a worker whose models are in engine processes: local tokenizers, remote forward passes.

Each device has an engine. A model is loaded on the device with the most free memory, and on another one if its queue
stays long. A job goes to the device with the fewest queued tokens among those that hold its model.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from errors import ServiceError
from models.catalog import Catalog, ModelSpec
from models.store import StoredModel
from runners.contracts import Results, Timings, TokenSequences
from runners.devices import Device
from runners.loaded_model import InMemory, LoadedModel, Room, State, Status
from runners.pool.entry import result_of, share
from runners.remote.link import Link, restarting
from runners.remote.server import ModelDescription, Update

Build = Callable[[ModelSpec, ModelDescription, "RemoteCompute"], LoadedModel]
"""Builds a model's tokenizer and runner, or a forwarded model. Blocks."""

_FURTHEST: dict[State, int] = {"ready": 0, "loading": 1, "importing": 2}
"""The state that is shown if devices differ: the lowest."""


class RemoteCompute:
    """The network of a model, in the engines that have loaded it."""

    def __init__(self) -> None:
        self.numbers: dict[Link, int] = {}
        """The number of the model in each of these engines, until it ends or unloads the model."""

    async def run(self, sequences: TokenSequences, priority: int = 0, timings: Timings | None = None) -> Results:
        """N sequences -> N results, in order; the time outside of forward passes counts as time in the queue."""
        started = time.monotonic()
        link = self._choose()
        while not link.writable:
            await link.wait_writable()
            link = self._choose()
        rows, compute_s = await link.submit(self.numbers[link], sequences, priority)
        if timings is not None:
            timings.compute_s += compute_s
            timings.queue_s += max(0.0, time.monotonic() - started - compute_s)
        return rows

    def _choose(self) -> Link:
        """The engine with the fewest queued tokens. ModelUnavailableError if none has the model."""
        if not self.numbers:
            raise restarting()
        return min(self.numbers, key=lambda link: link.queued_tokens)

    def abort(self, error: ServiceError) -> None:
        """Jobs fail with the link."""

    def close(self) -> None:
        """The engines unload the network."""


@dataclass(eq=False)
class _Entry:
    """A model that this worker has used."""

    description: ModelDescription
    compute: RemoteCompute
    task: asyncio.Task[LoadedModel]
    in_use: int = 0
    forgotten: bool = False

    @property
    def stored(self) -> StoredModel | None:
        """The files of the tokenizer; None for a forwarded model."""
        return self.description.stored

    @property
    def model(self) -> LoadedModel | None:
        """The model if its tokenizer has been built."""
        return result_of(self.task)


class RemotePool:
    """The models of the engine processes."""

    alive = True
    """A stuck engine is replaced without a restart of this process."""

    def __init__(self, catalog: Catalog, build: Build, *, link_to: Callable[[int], Link] = Link) -> None:
        self.catalog = catalog
        self._build = build
        self._link_to = link_to
        self._links: list[Link] = []
        """By the index of the device."""
        self._entries: dict[str, _Entry] = {}
        self._copying: dict[str, asyncio.Task[None]] = {}
        """Loads of busy models on another device, by name."""
        self._freeing: set[asyncio.Task[None]] = set()
        """Forgotten models whose tokenizers and connections are being closed."""

    async def open(self) -> None:
        """Connect to the engine of each device; TimeoutError if that of the first does not start."""
        info = await self._connect(0).wait_connected()
        for index in range(1, info.devices):
            self._connect(index)

    def _connect(self, index: int) -> Link:
        link = self._link_to(index)
        self._links.append(link)
        link.on_update, link.on_lost = partial(self._updated, link), partial(self._lost, link)
        link.open()
        return link

    @property
    def ready(self) -> bool:
        """Whether the engines have loaded the models of PRELOAD_MODELS.

        An engine that ended is not waited for while another one is ready.
        """
        links = self._links
        return any(link.ready for link in links) and all(link.ready or link.generation for link in links)

    def device(self) -> Device:
        """The first device."""
        info = self._links[0].info
        assert info is not None
        return info.device

    @contextlib.asynccontextmanager
    async def use(self, spec: ModelSpec, *, may_import: bool = True) -> AsyncIterator[LoadedModel]:
        """The model with a local tokenizer. An engine loads it if necessary, now or with the job."""
        entry = self._entries.get(spec.name)
        if entry is None or not entry.compute.numbers:
            entry = await self._describe(spec, await self._place(spec), may_import)
        entry.in_use += 1
        try:
            yield await share(entry.task)
        finally:
            entry.in_use -= 1
            self._end(entry)

    async def _place(self, spec: ModelSpec) -> Link:
        """The device for a model: one that has it, or else the one with the most free memory."""
        links = self._connected()
        if len(links) == 1:
            return links[0]
        rooms = await self._rooms(spec, links)
        return max(rooms, key=rooms.__getitem__)

    async def _rooms(self, spec: ModelSpec, links: Sequence[Link]) -> dict[Link, Room]:
        rooms = await asyncio.gather(*(link.call("room", spec.repo) for link in links))
        return dict(zip(links, rooms, strict=True))

    async def _describe(self, spec: ModelSpec, link: Link, may_import: bool) -> _Entry:
        """Have an engine load the model. The tokenizer is kept if the engine has loaded the same files."""
        generation = link.generation
        description: ModelDescription = await link.call("describe", spec.name, may_import)
        link.require_engine(generation)
        entry = self._entries.get(spec.name)
        if entry is None or entry.stored != description.stored:
            if entry is not None:
                self._forget(spec.name, entry)
            entry = self._enter(spec, description)
        entry.compute.numbers[link] = description.number
        return entry

    def _enter(self, spec: ModelSpec, description: ModelDescription) -> _Entry:
        compute = RemoteCompute()
        building = asyncio.to_thread(self._build, spec, description, compute)
        task = asyncio.create_task(building, name=f"tokenizer {spec.name}")
        entry = self._entries[spec.name] = _Entry(description, compute, task)
        task.add_done_callback(lambda _: self._built(spec.name, entry))
        return entry

    def _built(self, name: str, entry: _Entry) -> None:
        if entry.model is None and self._entries.get(name) is entry:
            del self._entries[name]
        self._end(entry)

    def _updated(self, link: Link, update: Update) -> None:
        for name, entry in list(self._entries.items()):
            number = entry.compute.numbers.get(link)
            if number in update.unloaded:
                del entry.compute.numbers[link]
                if not entry.compute.numbers:
                    self._forget(name, entry)
            elif number in update.busy and name not in self._copying:
                copying = self._copying[name] = asyncio.create_task(self._copy(self.catalog.get(name), entry))
                copying.add_done_callback(partial(self._copied, name))

    async def _copy(self, spec: ModelSpec, entry: _Entry) -> None:
        """Load a busy model on another device, if one has enough free memory."""
        needed = Room(False, entry.description.memory.memory_bytes)
        with contextlib.suppress(ServiceError):  # logged by the engine; the model is still served where it is
            rooms = await self._rooms(spec, [link for link in self._connected() if link not in entry.compute.numbers])
            fitting = [link for link, room in rooms.items() if room >= needed]
            if fitting:
                await self._describe(spec, max(fitting, key=rooms.__getitem__), may_import=False)

    def _copied(self, name: str, _: asyncio.Task[None]) -> None:
        del self._copying[name]

    def _lost(self, link: Link) -> None:
        """Forget what a lost engine held. Tokenizers are kept for the next engine."""
        for entry in self._entries.values():
            entry.compute.numbers.pop(link, None)

    def _forget(self, name: str, entry: _Entry) -> None:
        del self._entries[name]
        entry.forgotten = True
        self._end(entry)

    def _end(self, entry: _Entry) -> None:
        """Free a forgotten tokenizer when no request uses it."""
        if entry.forgotten and not entry.in_use and (model := entry.model) is not None:
            entry.forgotten = False
            freeing = asyncio.create_task(model.free())
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)

    async def load(self, spec: ModelSpec) -> None:
        """Load a model now, even if it has just failed."""
        await (await self._place(spec)).call("load", spec.name)

    async def unload(self, spec: ModelSpec) -> None:
        """Unload a model from all devices once its jobs are done."""
        await self._call_all("unload", spec.name)

    async def import_model(self, spec: ModelSpec) -> None:
        """Import a model without loading it."""
        await (await self._place(spec)).call("import_model", spec.repo)

    async def in_memory(self) -> dict[str, InMemory]:
        """The models in the engines' memory, by name."""
        merged: dict[str, InMemory] = {}
        for models in await self._call_all("in_memory"):
            for name, model in models.items():
                merged[name] = merged[name] + model if name in merged else model
        return merged

    async def statuses(self, specs: Sequence[ModelSpec]) -> list[Status]:
        """The state of each model."""
        by_device = await self._call_all("statuses", [spec.name for spec in specs])
        return [min(each, key=lambda status: _FURTHEST.get(status.state, 3)) for each in zip(*by_device, strict=True)]

    async def _call_all(self, method: str, *arguments: Any) -> list[Any]:
        """The results of a method, from the engines that are running."""
        return await asyncio.gather(*(link.call(method, *arguments) for link in self._connected()))

    def _connected(self) -> list[Link]:
        """The links to the engines that are running. ModelUnavailableError if there are none."""
        links = [link for link in self._links if link.connected]
        if not links:
            raise restarting()
        return links

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error`."""
        for entry in self._entries.values():
            if entry.model is not None:
                entry.model.abort(error)
        for link in self._links:
            link.abort(error)

    async def close(self) -> None:
        """Disconnect from the engines and free the tokenizers."""
        for copying in self._copying.values():
            copying.cancel()
        await asyncio.gather(*(link.close() for link in self._links))
        for name, entry in list(self._entries.items()):
            self._forget(name, entry)
        await asyncio.gather(*self._freeing, return_exceptions=True)
