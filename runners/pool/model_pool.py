"""ModelPool: loads models on first use, once for all waiting requests, and keeps them in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import metrics
from errors import ModelBusyError, ModelUnavailableError, ServiceError
from models.catalog import Catalog, ModelSpec
from models.store import ModelStore, StoredModel
from runners.batching.queue import Clock
from runners.devices import return_memory
from runners.loaded_model import InMemory, LoadedModel, Room, Status
from runners.pool.entry import (
    Entry,
    Import,
    Load,
    MemoryNeeded,
    NeedsExport,
    NotEnoughMemoryError,
    UnavailableReason,
    share,
)
from runners.pool.eviction import ModelMemory, evictable
from runners.pool.import_on_demand import ImportOnDemand
from runners.pool.memory import DeviceMemory
from runners.pool.watchdog import Watchdog

logger = logging.getLogger("service.models")

RETRY_FAILED_AFTER_S = 30
"""Time before a failed import or load is tried again; until then, requests get the same error at once."""

DRAIN_PATIENCE_S = 30.0
"""Time that a model gets to finish its requests before it is unloaded."""
_POLL_S = 0.02
_NOT_ENOUGH_MEMORY_RETRY_S = 5


class ModelPool:
    """The models of one process."""

    def __init__(
        self,
        catalog: Catalog,
        store: ModelStore,
        *,
        load: Load,
        import_model: Import | None,
        unavailable_reason: UnavailableReason,
        needs_export: NeedsExport = lambda _: False,
        memory_needed: MemoryNeeded = lambda _: 0,
        memory_budget: int = 0,
        max_imports: int = 2,
        clock: Clock = time.monotonic,
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._load = load
        self._imports = import_model is not None
        self._import_on_demand = ImportOnDemand(
            store, import_model, needs_export, self._ready_models, max_imports=max_imports
        )
        self._unavailable_reason = unavailable_reason
        self._memory_needed = memory_needed
        self.memory = DeviceMemory(memory_budget)
        self._clock = clock
        self.watchdog = Watchdog(clock)
        self._entries: dict[str, Entry] = {}
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._model_memory = ModelMemory(self.memory, self._entries, self._unload, self._drain)

    async def open(self) -> None:
        """Nothing has to be ready before models can be loaded."""

    @contextlib.asynccontextmanager
    async def use(self, spec: ModelSpec, *, may_import: bool = True) -> AsyncIterator[LoadedModel]:
        """The model, loaded (and imported) if necessary; it is not unloaded while the block runs.

        Raises ModelUnavailableError with the reason and the models that are ready, and CrossSiteError if the model must
        be imported first but `may_import` is false.
        """
        entry = self._entry(spec)
        if not may_import and self._unavailable_reason(spec) is None:
            await self._import_on_demand.forbid_start(spec, entry)
        while entry.draining is not None:
            await entry.draining.wait()
        entry.take()
        try:
            yield await self._get(spec, entry)
        finally:
            entry.give_back(self._clock())

    def borrow(self, spec: ModelSpec) -> tuple[LoadedModel, Callable[[], None]] | None:
        """A model in memory and the function that gives it back; None if a request would have to wait for the model."""
        entry = self._entry(spec)
        model = entry.model
        if model is None or entry.draining is not None:
            return None
        entry.take()
        return model, lambda: entry.give_back(self._clock())

    async def pin(self, spec: ModelSpec) -> None:
        """Load a model and exclude it from eviction."""
        async with self.use(spec):
            self._entries[spec.name].pinned = True

    async def load(self, spec: ModelSpec) -> None:
        """Load a model now, even if it has just failed."""
        entry = self._entry(spec)
        if entry.task is None:
            entry.failure = None
        async with self.use(spec):
            pass

    async def import_model(self, spec: ModelSpec) -> None:
        """Import a model without loading it. Concurrent loads wait for the same import."""
        if (reason := self._unavailable_reason(spec)) is not None:
            raise ModelUnavailableError(reason)
        entry = self._entry(spec)
        fetch = asyncio.ensure_future(self._import_on_demand.stored(spec, entry))
        entry.import_waiters += 1
        try:
            await share(fetch)
        except ServiceError as error:
            if entry.task is None:  # else the load reports it
                self._fail(spec, entry, error)
            raise
        finally:
            entry.import_waiters -= 1
            entry.cancel_unwanted_import()
        entry.failure = None

    async def unload(self, spec: ModelSpec) -> None:
        """Unload a model, even a pinned one, once its requests are done.

        Raises ModelBusyError if that takes longer than DRAIN_PATIENCE_S, or while the model is being loaded.
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
        """Unload models that have been idle for `after_s` seconds, except pinned ones."""
        for name, entry in evictable(self._entries):
            # this may have changed while the previous model was closed
            if entry.evictable and self._clock() - entry.last_used >= after_s:
                await self._unload(name, entry, "idle")

    def abort_stalled(self, after_s: float) -> None:
        """Abandon models with a pass that hangs for at least `after_s` seconds or with a lost device (watchdog.py)."""
        self.watchdog.check(self._entries, after_s)
        self._model_memory.update()

    def status(self, spec: ModelSpec) -> Status:
        """The state of a model. Reads the store, so call it off the event loop."""
        entry = self._entries.get(spec.name, Entry())
        if entry.importing:
            detail = "Waiting for another import to end (MAX_IMPORTS)." if entry.queued else ""
            return Status("importing", detail, progress=entry.progress)
        if entry.task is not None:
            return Status("ready" if entry.task.done() else "loading")
        if (reason := self._unavailable_reason(spec)) is not None:
            return Status("unavailable", reason)
        if spec.forwarded:
            return Status("forwarded")
        if self._store.find(spec) is not None:
            return Status("stored", entry.failure.message if entry.failure else "")
        if entry.failure is not None:
            return Status("unavailable", entry.failure.message)
        if not self._imports:
            return Status("unavailable", "Not imported, and IMPORT_ON_DEMAND is off. Run ./embeddings import.")
        return Status("importable")

    def room(self, spec: ModelSpec) -> Room:
        """Where the model stands in the choice of a device."""
        entry = self._entries.get(spec.name, Entry())
        return Room(entry.task is not None or entry.importing, self._model_memory.free)

    def loaded(self) -> list[LoadedModel]:
        """The models in memory."""
        return [model for entry in self._entries.values() if (model := entry.model) is not None]

    @property
    def alive(self) -> bool:
        """False if only a restart of this process helps (watchdog.py)."""
        return self.watchdog.alive

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return True

    async def in_memory(self) -> dict[str, InMemory]:
        """The models in memory, by name."""
        return {model.name: model.in_memory for model in self.loaded()}

    async def statuses(self, specs: Sequence[ModelSpec]) -> list[Status]:
        """The state of each model."""
        return await asyncio.to_thread(lambda: [self.status(spec) for spec in specs])

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error`, and cancel all loads and imports."""
        for task in self._pending_tasks():
            task.cancel()
        for model in self.loaded():
            model.abort(error)

    async def close(self) -> None:
        """Unload all models; pending requests fail."""
        pending = self._pending_tasks()
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        loaded = self.loaded()
        self._entries.clear()
        for model in loaded:
            await model.free()
        self._loading.shutdown(wait=False, cancel_futures=True)

    def _pending_tasks(self) -> list[asyncio.Task[Any]]:
        """Loads and imports that are not done."""
        tasks = [task for entry in self._entries.values() for task in (entry.task, entry.fetching)]
        return [task for task in tasks if task is not None and not task.done()]

    def _entry(self, spec: ModelSpec) -> Entry:
        """The model's entry, new if nothing was requested of the model yet."""
        if spec.name not in self._entries:  # setdefault would build an entry at each request
            self._entries[spec.name] = Entry()
        return self._entries[spec.name]

    async def _get(self, spec: ModelSpec, entry: Entry) -> LoadedModel:
        if entry.task is None:
            if entry.failure is not None and self._clock() - entry.failed_at < RETRY_FAILED_AFTER_S:
                raise entry.failure.with_traceback(None)  # else its traceback grows with every request
            entry.task = asyncio.create_task(self._load_task(spec, entry), name=f"load {spec.name}")
        return await share(entry.task)

    async def _load_task(self, spec: ModelSpec, entry: Entry) -> LoadedModel:
        started = self._clock()
        try:
            if (reason := self._unavailable_reason(spec)) is not None:
                raise ModelUnavailableError(f"{reason} {self._ready_models()}")
            stored = None if spec.forwarded else await self._import_on_demand.stored(spec, entry)
            if stored is not None:
                await self._model_memory.reserve(spec, self._memory_needed(stored))
            try:
                model = await asyncio.get_running_loop().run_in_executor(
                    self._loading, self._load_now, spec, stored, entry
                )
            finally:
                self._model_memory.release(spec)
        except NotEnoughMemoryError as error:
            entry.task = None
            raise ModelUnavailableError(str(error), retry_after_s=_NOT_ENOUGH_MEMORY_RETRY_S) from None
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
        self._model_memory.update(model)
        metrics.MODEL_LOADS.labels(spec.name, "loaded").inc()
        metrics.MODEL_BYTES.labels(spec.name).set(model.memory_bytes)
        logger.info("loaded %s in %.1f s (%s)", spec.name, self._clock() - started, model.backend)
        return model

    def _load_now(self, spec: ModelSpec, stored: StoredModel | None, entry: Entry) -> LoadedModel:
        """Load a model; runs on the loading thread, which loads one model at a time."""
        entry.loading_since = self._clock()
        try:
            return self._load(spec, stored, memory=self.memory)
        finally:
            entry.loading_since = None

    async def _drain(self, name: str, entry: Entry, reason: str) -> bool:
        """Unload a model once its requests are done; new ones wait. False if that takes too long."""
        if entry.draining is not None:
            await entry.draining.wait()
            return entry.model is None
        entry.draining = asyncio.Event()
        try:
            async with asyncio.timeout(DRAIN_PATIENCE_S):
                await entry.idle.wait()
                while entry.model is not None and not entry.evictable:  # noqa: ASYNC110  # a pass of cancelled requests
                    await asyncio.sleep(_POLL_S)
            await self._unload(name, entry, reason)
        except TimeoutError:
            return False
        finally:
            entry.draining.set()
            entry.draining = None
        return True

    async def _unload(self, name: str, entry: Entry, reason: str) -> None:
        model = entry.model
        entry.task = None
        if model is not None:
            with self._model_memory.closing(model):
                try:
                    await model.free()
                except Exception:  # an error of a driver must not stop the housekeeping
                    logger.exception("closing %s failed", name)
                return_memory()
            metrics.MODEL_UNLOADS.labels(name, reason).inc()
            metrics.MODEL_BYTES.labels(name).set(0)
            logger.info("unloaded %s", name)

    def _fail(self, spec: ModelSpec, entry: Entry, error: ServiceError) -> None:
        metrics.MODEL_LOADS.labels(spec.name, "failed").inc()
        logger.warning("%s is unavailable: %s", spec.name, error.message)
        entry.task, entry.failure, entry.failed_at = None, error, self._clock()

    def _ready_models(self) -> str:
        names = sorted(model.name for model in self.loaded())
        return f"Ready now: {', '.join(names)}." if names else "No other model is in memory now; GET /models lists all."
