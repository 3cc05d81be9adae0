"""A tiny checkpoint, and its import into a store without a check and without a Hub."""

from __future__ import annotations

from pathlib import Path

from importing.download import Progress
from importing.registration import Check, register_checkpoint
from models.catalog import ModelSpec
from models.store import ModelStore, StoredModel
from settings import load_settings
from tests.serving import DEAD_ENDPOINT
from tests.unit.fakes import spec

REPO = "sentence-transformers/all-MiniLM-L6-v2"
WANTED = spec(repo=REPO, pooling="mean")


def register(
    store: ModelStore,
    wanted: ModelSpec = WANTED,
    *,
    models_dir: Path = Path("/nowhere"),
    from_dir: Path | None = None,
    check: Check = lambda *_: None,
    progress: Progress = lambda *_: None,
    **settings: str,
) -> StoredModel:
    """Import a model from one of these folders, or find it in the store."""
    given = {"RERANKER_MODELS_DIR": str(models_dir), "HF_ENDPOINT": DEAD_ENDPOINT} | settings
    return register_checkpoint(
        wanted, store=store, settings=load_settings(given), check=check, progress=progress, from_dir=from_dir
    )
