"""Find the model that a request names; import a repository of the Hub first if IMPORT_ALLOWED lets requests do so."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable

from api.cross_site import may_import
from errors import CrossSiteError, ModelNotFoundError, ModelUnavailableError
from models.catalog import ModelSpec, Side, split_side
from runners.loaded_model import Pool
from runners.pool.model_pool import RETRY_FAILED_AFTER_S
from settings import Settings


class ByName:
    """The models of one pool, by the names that requests use."""

    def __init__(self, pool: Pool, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._allowed = settings.import_allowed if settings.import_on_demand else ()
        self._clock = clock
        self._failures: dict[str, tuple[float, ModelUnavailableError]] = {}

    async def resolve(self, name: str) -> tuple[ModelSpec, Side | None]:
        """The model, and the side of a search if the name has a suffix.

        ModelNotFoundError if there is none and none may be imported; ModelUnavailableError if its import fails.
        """
        catalog = self._pool.catalog
        try:
            return catalog.resolve(name)
        except ModelNotFoundError:
            repo = split_side(name)[0].strip()
            if not self._may_import(repo):
                raise
        spec = catalog.get_or_unlisted(repo)
        if not may_import():
            raise CrossSiteError("This model is not imported, and pages of other origins may not start an import.")
        await self._import(spec)
        return catalog.resolve(name)

    def _may_import(self, repo: str) -> bool:
        return "/" in repo and any(fnmatch.fnmatchcase(repo.lower(), each.lower()) for each in self._allowed)

    async def _import(self, spec: ModelSpec) -> None:
        """Import a repository; a failure is remembered for a while, so that it is not tried at each request."""
        failed_at, failure = self._failures.get(spec.repo, (float("-inf"), None))
        if failure is not None and self._clock() - failed_at < RETRY_FAILED_AFTER_S:
            raise failure.with_traceback(None)
        try:
            await self._pool.import_model(spec)
        except ModelUnavailableError as error:
            self._failures = {spec.repo: (self._clock(), error)}
            raise
