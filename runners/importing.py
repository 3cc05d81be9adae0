"""Where a model's files come from: the store, filled by an import that all who wait for it share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.store import ModelStore, StoredModel
from runners.pool_entry import Entry, Import, Incomplete

_RETRY_S = 30


class Importing:
    """The store, and the import that brings into it what is not there. `advice` ends a refusal: what is ready."""

    def __init__(
        self, store: ModelStore, import_model: Import | None, incomplete: Incomplete, advice: Callable[[], str]
    ) -> None:
        self._store = store
        self._import = import_model
        self._incomplete = incomplete
        self._advice = advice

    async def stored(self, spec: ModelSpec, entry: Entry) -> StoredModel:
        """The model's files, imported if need be. Cancelling it ends the import for all: shield what may leave."""
        if entry.fetching is None:
            found = await asyncio.to_thread(self._store.find, spec)
            if found is not None and not (self._import is not None and self._incomplete(found)):
                return found
        if self._import is None:
            raise ModelUnavailableError(
                f"{spec.name} is not in the model store and IMPORT_ON_DEMAND is off. "
                f"Run: scripts/import_models --model {spec.name}. {self._advice()}"
            )
        if entry.fetching is None:  # nobody came while the store was asked
            entry.fetching = asyncio.create_task(self._imported(spec, entry, self._import), name=f"import {spec.name}")
        return await entry.fetching

    async def _imported(self, spec: ModelSpec, entry: Entry, import_model: Import) -> StoredModel:
        def report(progress: float) -> None:
            entry.progress = progress

        entry.importing = True
        try:
            await import_model(spec, report)
        except ModelUnavailableError as error:
            raise ModelUnavailableError(f"{error.message} {self._advice()}", retry_after_s=_RETRY_S) from error
        finally:
            entry.importing, entry.progress, entry.fetching = False, None, None
        stored = await asyncio.to_thread(self._store.find, spec)
        if stored is None:
            raise ModelUnavailableError(f"The import of {spec.name} ended, but the model store does not have it.")
        return stored
