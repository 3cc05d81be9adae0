"""Import on demand: get a model's files from the store, importing them once for all requests that wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from errors import CrossSiteError, ModelUnavailableError
from models.catalog import ModelSpec
from models.integrity import find_flaw, repair_command
from models.store import ModelStore, StoredModel
from runners.pool.entry import Entry, Import, NeedsExport
from runners.pool.import_queue import ImportQueue

logger = logging.getLogger("service.models")

_RETRY_S = 30


class ImportOnDemand:
    """The store, and imports of models that it lacks. `advice` ends an error message: which models are ready."""

    def __init__(
        self,
        store: ModelStore,
        import_model: Import | None,
        needs_export: NeedsExport,
        advice: Callable[[], str],
        *,
        max_imports: int,
    ) -> None:
        self._store = store
        self._import = import_model
        self._needs_export = needs_export
        self._advice = advice
        self._unconverted: set[str] = set()
        """Models whose conversion failed; they are served without it, and it is not tried again."""
        self._queue = ImportQueue(max_imports, store.work)

    async def forbid_start(self, spec: ModelSpec, entry: Entry) -> None:
        """Raise CrossSiteError if a request for the model would start an import. Waiting for a running one is fine."""
        if entry.task is None and entry.fetching is None and await asyncio.to_thread(self._would_import, spec):
            raise CrossSiteError(
                f"{spec.name} is not imported, and pages of other origins may not start an import. Run: "
                f"./embeddings import {spec.name}, or add the page's origin to CORS_ORIGINS."
            )

    def _would_import(self, spec: ModelSpec) -> bool:
        return self._import is not None and not spec.forwarded and self._usable(spec) is None

    async def stored(self, spec: ModelSpec, entry: Entry) -> StoredModel:
        """The model's files, imported if necessary. Cancellation ends the import for all callers: shield each call."""
        if entry.fetching is None:
            stored = await asyncio.to_thread(self._usable, spec)
            if stored is not None:
                return stored
        if self._import is None:
            raise ModelUnavailableError(
                f"{spec.name} is not in the model store and IMPORT_ON_DEMAND is off. "
                f"Run: ./embeddings import {spec.name}. {self._advice()}"
            )
        if entry.fetching is None:  # no other request has started an import meanwhile
            entry.fetching = asyncio.create_task(self._imported(spec, entry, self._import), name=f"import {spec.name}")
        return await entry.fetching

    def _usable(self, spec: ModelSpec) -> StoredModel | None:
        """The stored model; None if it must be imported, or imported again."""
        stored = self._store.find(spec)
        flaw = None if stored is None else find_flaw(spec, stored)
        if stored is None or (flaw is not None and self._import is not None):
            return None
        if flaw is not None:
            raise ModelUnavailableError(
                f"{spec.name} cannot be loaded: {flaw}. IMPORT_ON_DEMAND is off. Run: {repair_command(spec, stored)}. "
                f"{self._advice()}"
            )
        convertible = self._import is not None and spec.name not in self._unconverted
        return None if convertible and self._needs_export(stored) else stored

    async def _imported(self, spec: ModelSpec, entry: Entry, import_model: Import) -> StoredModel:
        def report(progress: float) -> None:
            entry.progress = progress

        entry.importing = entry.queued = True
        try:
            async with self._queue.slot():
                entry.queued = False
                await import_model(spec, report)
        except ModelUnavailableError as error:
            stored = await asyncio.to_thread(self._intact, spec)
            if stored is None:
                raise ModelUnavailableError(f"{error.message} {self._advice()}", retry_after_s=_RETRY_S) from error
            logger.warning("%s could not be converted and is served by torch: %s", spec.name, error.message)
            self._unconverted.add(spec.name)
            return stored
        finally:
            if entry.fetching is asyncio.current_task():  # else it was cancelled, and another one may have started
                entry.clear_import()
        return await asyncio.to_thread(self._result, spec)

    def _intact(self, spec: ModelSpec) -> StoredModel | None:
        """The stored model, converted or not; None if it is missing or damaged."""
        stored = self._store.find(spec)
        return None if stored is None or find_flaw(spec, stored) is not None else stored

    def _result(self, spec: ModelSpec) -> StoredModel:
        """The stored model after a successful import."""
        stored = self._store.find(spec)
        if stored is None:
            raise ModelUnavailableError(f"The import of {spec.name} ended, but the model store does not have it.")
        if (flaw := find_flaw(spec, stored)) is not None:
            raise ModelUnavailableError(f"The import of {spec.name} ended, but {flaw}. {self._advice()}")
        return stored
