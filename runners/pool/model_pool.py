"""ModelPool: models loaded on first use, once however many ask, and kept for the next request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import metrics
from errors import ModelBusyError, ModelUnavailableError, ServiceError
from models.catalog import Catalog, ModelSpec
from models.store import ModelStore, StoredModel
from runners.batching.queue import Clock
from runners.devices import return_memory
from runners.loaded_model import LoadedModel, Status
from runners.pool.entry import Entry, Import, Incomplete, Load, MemoryNeeded, NoRoom, Obstacle, share
from runners.pool.eviction import Room, evictable
from runners.pool.import_on_demand import ImportOnDemand
from runners.pool.memory import DeviceMemory
from runners.pool.watchdog import Watchdog

logger = logging.getLogger("service.models")

RETRY_FAILED_AFTER_S = 30
"""A failed import or load is not tried again sooner: requests in between get the same answer at once."""

DRAIN_PATIENCE_S = 30.0
"""How long a model that is needed elsewhere may go on with the requests that it has."""
_POLL_S = 0.02
_NO_ROOM_RETRY_S = 5


class ModelPool:
    """The models of one worker process."""

    def __init__(
        self,
        catalog: Catalog,
        store: ModelStore,
        *,
        load: Load,
        import_model: Import | None,
        obstacle: Obstacle,
        incomplete: Incomplete = lambda _: False,
        memory_needed: MemoryNeeded = lambda _, __: 0,
        memory_budget: int = 0,
        max_imports: int = 2,
        clock: Clock = time.monotonic,
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._load = load
        self._imports = import_model is not None
        self._import_on_demand = ImportOnDemand(store, import_model, incomplete, self._ready_names, places=max_imports)
        self._obstacle = obstacle
        self._memory_needed = memory_needed
        self.memory = DeviceMemory(memory_budget)
        self._clock = clock
        self.watchdog = Watchdog(clock)
        self._entries: dict[str, Entry] = {}
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._room = Room(self.memory, self._entries, self._unload, self._drain)

    @contextlib.asynccontextmanager
    async def use(self, spec: ModelSpec, *, may_import: bool = True) -> AsyncIterator[LoadedModel]:
        """The model, loaded (and imported) if need be, and not unloaded while the block runs.

        ModelUnavailableError says why it cannot be had and which models are ready; CrossSiteError that the model would
        have to be imported, where `may_import` forbids it.
        """
        entry = self._entries.get(spec.name) or self._entries.setdefault(spec.name, Entry())
        if not may_import and self._obstacle(spec) is None:
            await self._import_on_demand.refuse_to_start(spec, entry)
        while entry.leaving is not None:
            await entry.leaving.wait()
        entry.in_use += 1
        entry.idle.clear()
        try:
            yield await self._ready(spec, entry)
        finally:
            entry.in_use -= 1
            entry.last_used = self._clock()
            if not entry.in_use:
                entry.idle.set()
                entry.leave_queue()

    async def pin(self, spec: ModelSpec) -> None:
        """Load a model and keep it whatever else wants its memory."""
        async with self.use(spec):
            self._entries[spec.name].pinned = True

    async def load(self, spec: ModelSpec) -> None:
        """Load a model now, also one that has just failed."""
        entry = self._entries.setdefault(spec.name, Entry())
        if entry.task is None:
            entry.failure = None
        async with self.use(spec):
            pass

    async def bring_in(self, spec: ModelSpec) -> None:
        """Import a model without loading it. Who loads it meanwhile waits for the same import."""
        if (reason := self._obstacle(spec)) is not None:
            raise ModelUnavailableError(reason)
        entry = self._entries.setdefault(spec.name, Entry())
        fetch = asyncio.ensure_future(self._import_on_demand.stored(spec, entry))
        entry.import_waiters += 1
        try:
            await share(fetch)
        except ServiceError as error:
            if entry.task is None:  # else the load says so
                self._fail(spec, entry, error)
            raise
        finally:
            entry.import_waiters -= 1
            entry.leave_queue()
        entry.failure = None

    async def unload(self, spec: ModelSpec) -> None:
        """Take a model out of memory, a pinned one too, once it has done what it was asked.

        ModelBusyError where that takes longer than DRAIN_PATIENCE_S, or while the model is being loaded.
        """
        entry = self._entries.get(spec.name, Entry())
        if entry.task is None:
            return
        if not entry.task.done():
            raise ModelBusyError(f"{spec.name} is being loaded. Unload it once it is ready.")
        pinned, entry.pinned = entry.pinned, False
        if not await asyncio.shield(asyncio.create_task(self._drain(spec.name, entry, "asked"))):
            entry.pinned = pinned
            raise ModelBusyError(
                f"{spec.name} is in use and did not finish within {DRAIN_PATIENCE_S:g} s. Try again later."
            )

    async def unload_idle(self, after_s: float) -> None:
        """Unload what nobody has used for `after_s` seconds, apart from pinned models."""
        for name, entry in evictable(self._entries):
            # Closing the one before may have taken a while: look again
            if entry.evictable and self._clock() - entry.last_used >= after_s:
                await self._unload(name, entry, "idle")

    def abort_stalled(self, after_s: float) -> None:
        """Give up models whose pass hangs, not before `after_s` seconds, or whose device is lost (watchdog.py)."""
        self.watchdog.check(self._entries, after_s)
        self._room.count()

    def status(self, spec: ModelSpec) -> Status:
        """State of a model, without touching it. Reads the store, so call it off the event loop."""
        entry = self._entries.get(spec.name, Entry())
        if entry.importing:
            waits = "Waits until another import has ended (MAX_IMPORTS)." if entry.queued else ""
            return Status("importing", waits, progress=entry.progress)
        if entry.task is not None:
            return Status("ready" if entry.task.done() else "loading")
        if (reason := self._obstacle(spec)) is not None:
            return Status("unavailable", reason)
        if spec.forwarded:
            return Status("forwarded")
        if self._store.find(spec) is not None:
            return Status("stored", entry.failure.message if entry.failure else "")
        if entry.failure is not None:
            return Status("unavailable", entry.failure.message)
        if not self._imports:
            return Status("unavailable", "Not imported, and IMPORT_ON_DEMAND is off. Run scripts/import_models.")
        return Status("importable")

    def loaded(self) -> list[LoadedModel]:
        """The models in memory."""
        return [model for entry in self._entries.values() if (model := entry.model) is not None]

    def memory_bytes(self, spec: ModelSpec) -> int | None:
        """What a model takes in memory; None where it is not there."""
        model = self._entries.get(spec.name, Entry()).model
        return model.memory_bytes if model is not None else None

    def give_up(self, error: ServiceError) -> None:
        """Give `error` to everybody who waits for a result or for a model."""
        for task in self._under_way():
            task.cancel()
        for model in self.loaded():
            if model.engine is not None:
                model.engine.abort(error)

    async def close(self) -> None:
        """Unload everything; whoever waits gets an error."""
        under_way = self._under_way()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        loaded = self.loaded()
        self._entries.clear()
        for model in loaded:
            await asyncio.to_thread(model.close)
            if model.disconnect is not None:
                await model.disconnect()
        self._loading.shutdown(wait=False, cancel_futures=True)

    def _under_way(self) -> list[asyncio.Task[Any]]:
        """Loads and imports that are not done."""
        tasks = [task for entry in self._entries.values() for task in (entry.task, entry.fetching)]
        return [task for task in tasks if task is not None and not task.done()]

    async def _ready(self, spec: ModelSpec, entry: Entry) -> LoadedModel:
        if entry.task is None:
            if entry.failure is not None and self._clock() - entry.failed_at < RETRY_FAILED_AFTER_S:
                raise entry.failure.with_traceback(None)  # else it gathers the frames of every request
            entry.task = asyncio.create_task(self._bring_up(spec, entry), name=f"load {spec.name}")
        return await share(entry.task)

    async def _bring_up(self, spec: ModelSpec, entry: Entry) -> LoadedModel:
        started = self._clock()
        try:
            if (reason := self._obstacle(spec)) is not None:
                raise ModelUnavailableError(f"{reason} {self._ready_names()}")
            stored = None if spec.forwarded else await self._import_on_demand.stored(spec, entry)
            if stored is not None:
                await self._room.make(spec, self._memory_needed(spec, stored))
            try:
                model = await asyncio.get_running_loop().run_in_executor(
                    self._loading, self._load_now, spec, stored, entry
                )
            finally:
                self._room.keep_no_longer(spec)
        except NoRoom as full:
            entry.task = None
            raise ModelUnavailableError(str(full), retry_after_s=_NO_ROOM_RETRY_S) from None
        except ServiceError as error:
            self._fail(spec, entry, error)
            raise
        except Exception as error:
            logger.exception("loading %s failed", spec.name)
            self.watchdog.load_failed(spec.name, entry)
            self._fail(spec, entry, ModelUnavailableError(f"{spec.name} could not be loaded ({type(error).__name__})."))
            assert entry.failure is not None
            raise entry.failure from error
        entry.failure = None
        self._room.count(model)
        metrics.MODEL_LOADS.labels(spec.name, "loaded").inc()
        metrics.MODEL_BYTES.labels(spec.name).set(model.memory_bytes)
        logger.info("loaded %s in %.1f s (%s)", spec.name, self._clock() - started, model.backend)
        return model

    def _load_now(self, spec: ModelSpec, stored: StoredModel | None, entry: Entry) -> LoadedModel:
        """On the loading thread, one model after the other."""
        entry.loading_since = self._clock()
        try:
            return self._load(spec, stored, memory=self.memory)
        finally:
            entry.loading_since = None

    async def _drain(self, name: str, entry: Entry, reason: str) -> bool:
        """Unload a model once its requests are done; new ones wait. False where that takes too long."""
        if entry.leaving is not None:  # it is on its way out already
            await entry.leaving.wait()
            return entry.model is None
        entry.leaving = asyncio.Event()
        try:
            async with asyncio.timeout(DRAIN_PATIENCE_S):
                await entry.idle.wait()
                while entry.model is not None and not entry.evictable:  # noqa: ASYNC110  # waiters left
                    await asyncio.sleep(_POLL_S)
            await self._unload(name, entry, reason)
        except TimeoutError:
            return False
        finally:
            entry.leaving.set()
            entry.leaving = None
        return True

    async def _unload(self, name: str, entry: Entry, reason: str) -> None:
        model = entry.model
        entry.task = None
        if model is not None:
            with self._room.until_closed(model):
                try:
                    await asyncio.to_thread(model.close)
                    if model.disconnect is not None:
                        await model.disconnect()
                except Exception:  # what a driver raises must not stop the housekeeping
                    logger.exception("closing %s failed", name)
                return_memory()
            metrics.MODEL_UNLOADS.labels(name, reason).inc()
            metrics.MODEL_BYTES.labels(name).set(0)
            logger.info("unloaded %s", name)

    def _fail(self, spec: ModelSpec, entry: Entry, error: ServiceError) -> None:
        metrics.MODEL_LOADS.labels(spec.name, "failed").inc()
        logger.warning("%s is unavailable: %s", spec.name, error.message)
        entry.task, entry.failure, entry.failed_at = None, error, self._clock()

    def _ready_names(self) -> str:
        names = sorted(model.name for model in self.loaded())
        return f"Ready now: {', '.join(names)}." if names else "No other model is in memory now; GET /models lists all."
