"""Bring a model into the store: find the checkpoint, make it ready, check it, register it.

Several processes may ask at once: a lock file lets one work and the others find the result.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.download import Progress, Snapshot, download, local_path
from models.facts import ModelFacts
from models.files import content_revision
from models.store import ModelStore, StoredModel, tag_name
from settings import Settings

Check = Callable[[ModelSpec, StoredModel], None]
"""Runs a prepared model once; ModelUnavailableError where it must not be served."""


def import_model(
    spec: ModelSpec,
    *,
    store: ModelStore,
    settings: Settings,
    check: Check,
    progress: Progress,
    from_dir: Path | None = None,
) -> StoredModel:
    """The stored model, imported now unless it is there already.

    ModelUnavailableError says what failed. Whatever happens, nothing half-made can be found in the store; a
    download that stopped goes on where it was at the next try.
    """
    if spec.forwarded:
        raise ModelUnavailableError(f"{spec.repo} is forwarded to Cohere's API: nothing to import, set COHERE_API_KEY.")
    store.work.mkdir(parents=True, exist_ok=True)
    with FileLock(store.work / f"{tag_name(spec.repo)}.lock"):
        present = store.find(spec)
        if present is not None and from_dir is None:
            return present
        store.clear_leftovers(spec)
        downloads = store.work / f"{tag_name(spec.repo)}.download"
        source = _source(spec, settings, downloads, progress, from_dir)
        stored = _build(spec, source, store, check)
        shutil.rmtree(downloads, ignore_errors=True)
        return stored


def _source(
    spec: ModelSpec, settings: Settings, downloads: Path, progress: Progress, from_dir: Path | None
) -> Snapshot:
    for folder in (from_dir, local_path(spec, settings), packaged_folder(spec)):
        if folder is not None and (folder / "config.json").is_file():
            return Snapshot(folder, content_revision(folder))
    if from_dir is not None:
        raise ModelUnavailableError(f"{from_dir} holds no config.json; is it a checkpoint's folder?")
    return download(spec, downloads, settings, progress)


def packaged_folder(spec: ModelSpec) -> Path | None:
    """The weights inside an installed Python package, for models that have one."""
    if spec.package is None:
        return None
    found = importlib.util.find_spec(spec.package)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / "model" if folders else None


def _build(spec: ModelSpec, source: Snapshot, store: ModelStore, check: Check) -> StoredModel:
    staging = store.staging(spec)
    try:
        facts = _prepare(spec, source, staging)
        check(spec, StoredModel("staging", staging, facts))
        labels = {"kind": spec.kind, "short-name": spec.name}
        return store.register(staging, facts, labels)
    except OSError as error:
        raise ModelUnavailableError(
            f"{spec.repo} could not be written to {store.models}: {error.strerror or error}. "
            "Is the disk full or read-only?"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _prepare(spec: ModelSpec, source: Snapshot, staging: Path) -> ModelFacts:
    from models.conversion import prepare

    try:
        return prepare(spec, source.folder, staging, source.revision)
    except (ModelUnavailableError, OSError):
        raise
    except Exception as error:  # a damaged file may fail in any library
        raise ModelUnavailableError(
            f"{spec.repo} is refused: its files cannot be read ({type(error).__name__}). Is the checkpoint damaged?"
        ) from error
