"""Locate a checkpoint, convert it, check it and register it in the store.

Several processes may do so at once: a lock file lets one work and the others find the result.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from errors import ModelUnavailableError
from importing import disk
from importing.download import Progress, Snapshot, download, local_path, needed_files, shallow_files
from importing.hub_cache import cached, offline
from models.catalog import ModelSpec
from models.facts import ModelFacts
from models.files import content_revision, copy_all, size_of
from models.integrity import damaged_files, flaw, repair
from models.store import ModelStore, StoredModel, tag_name
from settings import Settings

logger = logging.getLogger("service.models")

Check = Callable[[ModelSpec, StoredModel], None]
"""Runs a prepared model once; ModelUnavailableError where it must not be served."""


def register_checkpoint(
    spec: ModelSpec,
    *,
    store: ModelStore,
    settings: Settings,
    check: Check,
    progress: Progress,
    from_dir: Path | None = None,
) -> StoredModel:
    """The stored model, imported now unless it is there already and whole.

    ModelUnavailableError says what failed. Whatever happens, nothing half-made can be found in the store; a
    download that stopped goes on where it was at the next try.
    """
    if spec.forwarded:
        raise ModelUnavailableError(f"{spec.repo} is forwarded to Cohere's API: nothing to import, set COHERE_API_KEY.")
    if from_dir is None and (present := _whole(spec, store)) is not None:
        return present  # before anything is written: the store may be read-only
    try:
        store.work.mkdir(parents=True, exist_ok=True)
        with FileLock(store.work / f"{tag_name(spec.repo)}.lock"):
            if from_dir is None and (present := _whole(spec, store)) is not None:
                return present  # another process was faster
            store.clear_leftovers(spec)
            return _import(spec, store, settings, check, progress, from_dir)
    except OSError as error:
        raise disk.write_problem(error, store.work, spec.download_bytes or 0, spec.repo) from error


def _whole(spec: ModelSpec, store: ModelStore) -> StoredModel | None:
    """What the store has of the model, unless it is damaged or the catalogue means something else by now."""
    present = store.find(spec)
    return None if present is None or flaw(spec, present, thorough=True) else present


def _import(
    spec: ModelSpec, store: ModelStore, settings: Settings, check: Check, progress: Progress, from_dir: Path | None
) -> StoredModel:
    flawed = None if from_dir is not None else store.find(spec)
    reason = None if flawed is None else flaw(spec, flawed, thorough=True)
    if reason is not None:
        logger.warning("%s is imported anew: %s", spec.name, reason)
    downloads = store.work / f"{tag_name(spec.repo)}.download"
    try:
        source = _local_source(spec, settings, from_dir)
        if source is None and flawed is not None and flawed.facts.local:
            # the Hub's weights may be others than those of the folder
            raise ModelUnavailableError(f"It came from a folder. Run: {repair(spec, flawed)}.")
        if source is None:
            source = cached(spec) if offline(settings) else download(spec, downloads, settings, progress)
        stored = _build(spec, source, store, check)
    except ModelUnavailableError as error:
        if reason is None:
            raise
        raise ModelUnavailableError(f"{spec.name} has to be imported anew: {reason}. {error.message}") from error
    shutil.rmtree(downloads, ignore_errors=True)
    if flawed is not None and flawed.folder != stored.folder and damaged_files(flawed, thorough=True):
        store.discard(flawed)
    return stored


def _local_source(spec: ModelSpec, settings: Settings, from_dir: Path | None) -> Snapshot | None:
    """A folder on this machine that holds the checkpoint; None where it has to be fetched."""
    for folder in (from_dir, local_path(spec, settings), packaged_folder(spec)):
        if folder is not None and (folder / "config.json").is_file():
            return Snapshot(folder, content_revision(folder), ours=False)
    if from_dir is not None:
        raise ModelUnavailableError(f"{from_dir} holds no config.json; is it a checkpoint's folder?")
    return None


def packaged_folder(spec: ModelSpec) -> Path | None:
    """The weights inside an installed Python package, for models that have one."""
    if spec.package is None:
        return None
    found = importlib.util.find_spec(spec.package)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / "model" if folders else None


def _build(spec: ModelSpec, source: Snapshot, store: ModelStore, check: Check) -> StoredModel:
    names = needed_files(shallow_files(source.folder))
    try:
        return _convert(spec, source, names, store, check)
    except OSError as error:
        needed = size_of(source.folder, names)
        raise disk.write_problem(error, store.models, needed, f"the conversion of {spec.repo}") from error


def _convert(spec: ModelSpec, source: Snapshot, names: list[str], store: ModelStore, check: Check) -> StoredModel:
    """Make a stored model; whatever happens, its working folders are gone afterwards."""
    staging, copied = store.staging(spec), store.staging(spec)
    try:
        if not source.ours:  # its owner may write to it at any time, also while we serve
            copy_all(source.folder, names, copied)
            source = replace(source, folder=copied)
        facts = _prepare(spec, source, staging)
        check(spec, StoredModel("staging", staging, facts))
        labels = {"kind": spec.kind, "short-name": spec.name}
        return store.register(staging, facts, labels)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(copied, ignore_errors=True)


def _prepare(spec: ModelSpec, source: Snapshot, staging: Path) -> ModelFacts:
    from importing.conversion import prepare

    try:
        return prepare(spec, source.folder, staging, source.revision)
    except (ModelUnavailableError, OSError):
        raise
    except Exception as error:  # a damaged file may fail in any library
        if disk.is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise ModelUnavailableError(
            f"{spec.repo} is refused: its files cannot be read ({type(error).__name__}). Is the checkpoint damaged?"
        ) from error
