"""Locate a checkpoint, convert it, check it and register it in the store.

A lock file ensures that one process imports a model; the others wait and use its result.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from errors import ModelUnavailableError, UnsupportedModelError
from importing import adapters, disk
from importing.download import (
    Progress,
    Snapshot,
    download,
    is_checkpoint,
    local_path,
    needed_files,
    shallow_files,
)
from importing.hub_cache import cached_snapshot, is_offline
from models.catalog import ModelSpec
from models.facts import ModelFacts, Verification
from models.files import content_revision, copy
from models.integrity import damaged_files, find_flaw, repair_command
from models.store import ModelStore, StoredModel, tag_name
from settings import Settings

logger = logging.getLogger("service.models")

Check = Callable[[ModelSpec, StoredModel], Verification | None]
"""Runs a prepared model and compares it with its reference; raises ModelUnavailableError if it must not be served, and
UnsupportedModelError if sentence-transformers should run it instead."""
Complete = Callable[[ModelSpec, Path], ModelSpec]
"""Completes a block from the files of its repository."""

_WAIT_REPORT_S = 60.0
"""A process that waits for another one's import reports progress this often, so that it is not taken for hung."""


def register_checkpoint(
    spec: ModelSpec,
    *,
    store: ModelStore,
    settings: Settings,
    check: Check,
    progress: Progress,
    from_dir: Path | None = None,
    complete: Complete = lambda spec, _: spec,
) -> StoredModel:
    """Return the stored model, importing it unless the store has it intact.

    Raises ModelUnavailableError on failure. The store never contains partial models; the next attempt resumes an
    interrupted download.
    """
    if spec.forwarded:
        raise ModelUnavailableError(f"{spec.repo} is forwarded to Cohere's API: nothing to import, set COHERE_API_KEY.")
    if from_dir is None and (present := _find_intact(spec, store)) is not None:
        return present  # before anything is written: the store may be read-only
    try:
        store.work.mkdir(parents=True, exist_ok=True)
        with _locked(FileLock(store.work / f"{tag_name(spec.repo)}.lock"), progress):
            if from_dir is None and (present := _find_intact(spec, store)) is not None:
                return present  # imported by another process
            store.clear_leftovers(spec)
            return _import(spec, store, settings, check, progress, from_dir, complete)
    except OSError as error:
        raise disk.write_error(error, store.work, spec.download_bytes or 0, spec.repo) from error


@contextlib.contextmanager
def _locked(lock: FileLock, progress: Progress) -> Iterator[None]:
    while True:
        try:
            lock.acquire(timeout=_WAIT_REPORT_S)
            break
        except Timeout:
            progress(0, 1)
    try:
        yield
    finally:
        lock.release()


def _find_intact(spec: ModelSpec, store: ModelStore) -> StoredModel | None:
    """The stored model, unless it is damaged or the catalogue has changed since its import."""
    present = store.find(spec)
    return None if present is None or find_flaw(spec, present, thorough=True) else present


def _import(
    spec: ModelSpec,
    store: ModelStore,
    settings: Settings,
    check: Check,
    progress: Progress,
    from_dir: Path | None,
    complete: Complete,
) -> StoredModel:
    flawed = None if from_dir is not None else store.find(spec)
    reason = None if flawed is None else find_flaw(spec, flawed, thorough=True)
    if reason is not None:
        logger.warning("importing %s again: %s", spec.name, reason)
    downloads = store.work / f"{tag_name(spec.repo)}.download"
    try:
        source = _local_source(spec, settings, from_dir)
        if source is None and flawed is not None and flawed.facts.local:
            # the Hub's weights may differ from those of the folder
            raise ModelUnavailableError(f"It was imported from a folder. Run: {repair_command(spec, flawed)}.")
        source = source or _from_hub(spec, downloads, settings, progress)

        def fetch(base: ModelSpec) -> Snapshot:
            return _local_source(base, settings) or _from_hub(base, downloads / "base", settings, progress)

        with _network(spec, source, store, fetch) as source:
            stored = _build(complete(spec, source.folder), source, store, check)
    except ModelUnavailableError as error:
        if reason is None:
            raise
        raise ModelUnavailableError(f"{spec.name} must be imported again: {reason}. {error.message}") from error
    shutil.rmtree(downloads, ignore_errors=True)
    if flawed is not None and flawed.folder != stored.folder and damaged_files(flawed, thorough=True):
        store.discard(flawed)
    return stored


@contextlib.contextmanager
def _network(
    spec: ModelSpec, source: Snapshot, store: ModelStore, fetch: Callable[[ModelSpec], Snapshot]
) -> Iterator[Snapshot]:
    """The checkpoint; if it is an adapter, merged into its base model, in a working folder."""
    if not adapters.has_adapter(spec, source.folder):
        yield source
        return
    target = store.staging(spec)
    try:
        yield adapters.merged(spec, source, fetch, target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _from_hub(spec: ModelSpec, downloads: Path, settings: Settings, progress: Progress) -> Snapshot:
    """The checkpoint from the Hub; without access to it, from the Hugging Face cache."""
    return cached_snapshot(spec) if is_offline(settings) else download(spec, downloads, settings, progress)


def _local_source(spec: ModelSpec, settings: Settings, from_dir: Path | None = None) -> Snapshot | None:
    """The checkpoint in a folder on this machine; None if it must be downloaded."""
    for folder in (from_dir, local_path(spec, settings), packaged_folder(spec)):
        if folder is not None and is_checkpoint(folder):
            return Snapshot(folder, content_revision(folder), private=False)
    if from_dir is not None:
        raise ModelUnavailableError(f"{from_dir} has no config.json. Give the folder of a checkpoint.")
    return None


def packaged_folder(spec: ModelSpec) -> Path | None:
    """The folder with the weights in an installed Python package; None if the model has no package."""
    if spec.package is None:
        return None
    package = importlib.util.find_spec(spec.package)
    folders = package.submodule_search_locations if package else None
    return Path(folders[0]) / "model" if folders else None


def _build(spec: ModelSpec, source: Snapshot, store: ModelStore, check: Check) -> StoredModel:
    names = needed_files(shallow_files(source.folder))
    try:
        return _convert(spec, source, names, store, check)
    except OSError as error:
        needed = sum((source.folder / name).stat().st_size for name in names)
        raise disk.write_error(error, store.models, needed, f"the conversion of {spec.repo}") from error


def _convert(spec: ModelSpec, source: Snapshot, names: list[str], store: ModelStore, check: Check) -> StoredModel:
    """Build, check and register a stored model; always removes its working folders."""
    copied = store.staging(spec)
    try:
        if not source.private:  # it may change at any time, even while the model is served
            for name in names:
                copy(source.folder / name, copied / name)
            source = replace(source, folder=copied)
        try:
            return _register(spec, source, store, check)
        except UnsupportedModelError as error:
            return _register_unchanged(spec, source, store, check, error)
    except ModelUnavailableError as error:
        code = _remote_code(source.folder)
        if code is None or "remote code" in error.message:
            raise
        raise ModelUnavailableError(
            f"{error.message} Its repository has remote code ({code}), which is not run."
        ) from error
    finally:
        shutil.rmtree(copied, ignore_errors=True)


def _remote_code(folder: Path) -> str | None:
    """The repository's own code, without which the checkpoint may not fit; None if there is none."""
    from importing.conversion.checkpoint import read_json
    from importing.conversion.native import remote_code

    try:
        return remote_code(read_json(folder / "config.json"))
    except ValueError:  # a damaged file
        return None


def _register_unchanged(
    spec: ModelSpec, source: Snapshot, store: ModelStore, check: Check, unsupported: UnsupportedModelError
) -> StoredModel:
    """Register a model that sentence-transformers runs; ModelUnavailableError with both reasons if it cannot."""
    try:
        stored = _register(spec, source, store, check, unsupported.message)
    except ModelUnavailableError as error:
        raise ModelUnavailableError(f"{unsupported.message} {error.message}") from error
    logger.warning("%s is run by sentence-transformers, which is slower: %s", spec.name, unsupported.message)
    return stored


def _register(
    spec: ModelSpec, source: Snapshot, store: ModelStore, check: Check, unsupported: str | None = None
) -> StoredModel:
    staging = store.staging(spec)
    try:
        facts = _prepare(spec, source, staging, unsupported)
        verification = check(spec, StoredModel("staging", staging, facts))
        block = spec.model_dump_json(exclude_defaults=True) if spec.from_repository else ""
        facts = facts.model_copy(update={"verification": verification, "block": block})
        labels = {"kind": spec.kind, "short-name": spec.name}
        return store.register(staging, facts, labels)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _prepare(spec: ModelSpec, source: Snapshot, staging: Path, unsupported: str | None) -> ModelFacts:
    """Convert a checkpoint for our engines, or, if they do not support it, for sentence-transformers."""
    from importing.conversion import prepare

    try:
        if unsupported is not None:
            from importing.conversion import prepare_unchanged

            return prepare_unchanged(spec, source.folder, staging, source.revision, unsupported)
        return prepare(spec, source.folder, staging, source.revision)
    except (ModelUnavailableError, OSError):
        raise
    except Exception as error:  # a damaged file may raise anything in any library
        if disk.is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise ModelUnavailableError(
            f"{spec.repo} is refused: its files cannot be read ({type(error).__name__}). The checkpoint may be damaged."
        ) from error
