"""The objects that the handlers of api/routes.py use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from api.work import Work
from batches.service import BatchService
from models.catalog import Catalog
from models.store import ModelStore, StoredModel
from runners.devices import Device
from runners.loaded_model import Pool
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class Context:
    """The objects of one worker process."""

    work: Work
    store: ModelStore
    get_device: Callable[[], Device]
    planned_dtype: Callable[[StoredModel], str]
    """Data type that a stored model would use if it were loaded."""
    batches: BatchService | None = None
    """The batch API; None without BATCH_DIR."""
    is_ready: Callable[[], bool]
    """Whether the models of PRELOAD_MODELS are loaded."""
    bentoml_app: ASGIApp
    """BentoML's own app, which serves the files of the documentation page."""
    documentation_page: str
    """HTML."""

    @property
    def device(self) -> Device:
        """Where the models run."""
        return self.get_device()

    @property
    def settings(self) -> Settings:
        """The settings of the service."""
        return self.work.settings

    @property
    def pool(self) -> Pool:
        """The models in memory."""
        return self.work.pool

    @property
    def catalog(self) -> Catalog:
        """All models that the service can serve."""
        return self.pool.catalog
