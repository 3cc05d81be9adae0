"""Where a model's files come from: the store, filled by an import that all who wait for it share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from errors import CrossSiteError, ModelUnavailableError
from models.catalog import ModelSpec
from models.integrity import flaw, repair
from models.store import ModelStore, StoredModel
from runners.pool.entry import Entry, Import, Incomplete
from runners.pool.import_queue import ImportQueue

logger = logging.getLogger("service.models")

_RETRY_S = 30


class ImportOnDemand:
    """The store, and the import that brings into it what is not there. `advice` ends a refusal: what is ready."""

    def __init__(
        self,
        store: ModelStore,
        import_model: Import | None,
        incomplete: Incomplete,
        advice: Callable[[], str],
        *,
        places: int,
    ) -> None:
        self._store = store
        self._import = import_model
        self._incomplete = incomplete
        self._advice = advice
        self._unconverted: set[str] = set()
        """Models whose conversion failed: they are not kept from serving, and it is not tried again."""
        self._queue = ImportQueue(places, store.work)

    async def refuse_to_start(self, spec: ModelSpec, entry: Entry) -> None:
        """CrossSiteError where a request for the model would start an import; one under way may be waited for."""
        if entry.task is None and entry.fetching is None and await asyncio.to_thread(self._starts_one, spec):
            raise CrossSiteError(
                f"{spec.name} has to be imported first, and a page of another site may not start that. Run: "
                f"scripts/import_models --model {spec.name}, or name the page's origin in CORS_ORIGINS."
            )

    def _starts_one(self, spec: ModelSpec) -> bool:
        return self._import is not None and not spec.forwarded and self._usable(spec) is None

    async def stored(self, spec: ModelSpec, entry: Entry) -> StoredModel:
        """The model's files, imported if need be. Cancelling it ends the import for all: shield what may leave."""
        if entry.fetching is None:
            found = await asyncio.to_thread(self._usable, spec)
            if found is not None:
                return found
        if self._import is None:
            raise ModelUnavailableError(
                f"{spec.name} is not in the model store and IMPORT_ON_DEMAND is off. "
                f"Run: scripts/import_models --model {spec.name}. {self._advice()}"
            )
        if entry.fetching is None:  # nobody came while the store was asked
            entry.fetching = asyncio.create_task(self._imported(spec, entry, self._import), name=f"import {spec.name}")
        return await entry.fetching

    def _is_incomplete(self, spec: ModelSpec, found: StoredModel) -> bool:
        """Whether a stored model is worth another import."""
        return self._import is not None and spec.name not in self._unconverted and self._incomplete(found)

    def _usable(self, spec: ModelSpec) -> StoredModel | None:
        """The stored model; None where it has to be imported, or imported anew."""
        found = self._store.find(spec)
        wrong = None if found is None else flaw(spec, found)
        if found is None or (wrong is not None and self._import is not None):
            return None
        if wrong is not None:
            raise ModelUnavailableError(
                f"{spec.name} cannot be loaded: {wrong}. IMPORT_ON_DEMAND is off. Run: {repair(spec, found)}. "
                f"{self._advice()}"
            )
        return None if self._is_incomplete(spec, found) else found

    async def _imported(self, spec: ModelSpec, entry: Entry, import_model: Import) -> StoredModel:
        def report(progress: float) -> None:
            entry.progress = progress

        entry.importing = entry.queued = True
        try:
            async with self._queue.turn():
                entry.queued = False
                await import_model(spec, report)
        except ModelUnavailableError as error:
            stored = await asyncio.to_thread(self._intact, spec)
            if stored is None:
                raise ModelUnavailableError(f"{error.message} {self._advice()}", retry_after_s=_RETRY_S) from error
            logger.warning("%s is served by torch, as it could not be converted: %s", spec.name, error.message)
            self._unconverted.add(spec.name)
            return stored
        finally:
            if entry.fetching is asyncio.current_task():  # else it was taken out of the line, and another one may be in
                entry.forget_import()
        return await asyncio.to_thread(self._found, spec)

    def _intact(self, spec: ModelSpec) -> StoredModel | None:
        """The stored model, converted or not; None where it is not there, or not what was imported."""
        stored = self._store.find(spec)
        return None if stored is None or flaw(spec, stored) is not None else stored

    def _found(self, spec: ModelSpec) -> StoredModel:
        """What an import that succeeded has brought."""
        stored = self._store.find(spec)
        if stored is None:
            raise ModelUnavailableError(f"The import of {spec.name} ended, but the model store does not have it.")
        if (wrong := flaw(spec, stored)) is not None:
            raise ModelUnavailableError(f"The import of {spec.name} ended, but {wrong}. {self._advice()}")
        return stored
