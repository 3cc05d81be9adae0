"""The BentoML model store: look up, register, list and remove imported models.

A model is registered by renaming a finished folder, so a killed import leaves no partial model.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import yaml
from bentoml import Tag
from bentoml._internal.models.model import Model, ModelContext

from models.catalog import Catalog, ModelSpec, load_catalog
from models.facts import FORMAT, ModelFacts
from models.files import sync
from models.yaml_file import read_yaml
from settings import Settings, bentoml_home

MODEL_YAML = "model.yaml"
_TAG_LIMIT = 63
_VERSION_LENGTH = 12
_STAGING_DIGITS = 8
_Stamp = tuple[int, int, int]
"""Of a file: the time of its last change, its inode and its size."""


@dataclass(frozen=True)
class StoredModel:
    """A model ready to serve: a folder of safetensors and tokenizer files, and its facts."""

    tag: str
    folder: Path
    facts: ModelFacts


def tag_name(repo: str) -> str:
    """`BAAI/bge-m3` -> `baai--bge-m3`: lower case, no slash, at most 63 characters."""
    name = re.sub(r"[^a-z0-9._-]", "-", repo.lower().replace("/", "--"))
    if len(name) <= _TAG_LIMIT:
        return name
    digest = hashlib.sha256(repo.lower().encode()).hexdigest()[:8]
    return f"{name[: _TAG_LIMIT - 9]}-{digest}"


def version(revision: str) -> str:
    """The version in the store of a revision."""
    return revision.removeprefix("local-")[:_VERSION_LENGTH]


class ModelStore:
    """The model store in BENTOML_HOME, and a working folder for imports on the same file system."""

    def __init__(self, home: Path | None = None) -> None:
        root = home or bentoml_home()
        self.models = root / "models"
        self.work = root / "imports"
        self._read_before: dict[Path, tuple[_Stamp, StoredModel | None]] = {}

    def find(self, spec: ModelSpec) -> StoredModel | None:
        """The stored model: the newest of the pinned revision and of imported folders, else the newest of all."""
        versions = self._versions(self.models / tag_name(spec.repo))
        matching = tuple(stored for stored in versions if stored.facts.revision == spec.revision or stored.facts.local)
        return (matching or versions or (None,))[-1]

    def list(self) -> list[StoredModel]:
        """All models of this service in the store, sorted by tag."""
        folders = self.models.iterdir() if self.models.is_dir() else []
        return sorted((stored for folder in folders for stored in self._versions(folder)), key=lambda each: each.tag)

    def blocks(self) -> tuple[ModelSpec, ...]:
        """The blocks of the stored models that no catalogue listed at their import, sorted by full name."""
        blocks = {stored.facts.repo: _block(stored.facts.block) for stored in self.list() if stored.facts.block}
        return tuple(blocks[repo] for repo in sorted(blocks))

    def staging(self, spec: ModelSpec) -> Path:
        """A new empty folder to build a model in; `register` moves it into the store."""
        folder = self.work / f"{tag_name(spec.repo)}.{uuid.uuid4().hex[:_STAGING_DIGITS]}"
        folder.mkdir(parents=True)
        return folder

    def register(self, staging: Path, facts: ModelFacts, labels: dict[str, str]) -> StoredModel:
        """Move a finished staging folder into the store, atomically."""
        tag = Tag(tag_name(facts.repo), version(facts.revision))
        model = Model.create(
            tag,
            module="",
            api_version="v1",
            signatures={},
            labels=labels,
            metadata=facts.model_dump(mode="json", exclude_none=True),  # BentoML rejects None
            context=ModelContext(framework_name="", framework_versions={}),
        )
        with (staging / MODEL_YAML).open("w", encoding="utf-8") as file:
            model.info.dump(file)
        shutil.rmtree(model.path, ignore_errors=True)
        sync(staging)
        target = self.models / tag.path()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # an older format, or a partial import of another tool
            shutil.move(target, self.work / f"replaced.{uuid.uuid4().hex[:8]}")
        os.rename(staging, target)
        (self.models / tag.latest_path()).write_text(str(tag.version), encoding="utf-8")
        self._sweep()
        return StoredModel(str(tag), target, facts)

    def remove(self, spec: ModelSpec) -> int:
        """Delete all stored versions of a model; return how many there were."""
        folder = self.models / tag_name(spec.repo)
        versions = self._versions(folder)
        for stored in versions:
            self.discard(stored)
        if not any(path.is_dir() for path in folder.glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        return len(versions)

    def discard(self, stored: StoredModel) -> None:
        """Delete one version."""
        shutil.rmtree(stored.folder, ignore_errors=True)

    def clear_leftovers(self, spec: ModelSpec) -> None:
        """Delete partial builds of killed imports of this model. The caller must hold the import's lock."""
        for leftover in self.work.glob(f"{tag_name(spec.repo)}.{'[0-9a-f]' * _STAGING_DIGITS}"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _sweep(self) -> None:
        for leftover in self.work.glob("replaced.*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _versions(self, folder: Path) -> tuple[StoredModel, ...]:
        """The versions in a folder, in the order of their imports."""
        found = [self._read(path) for path in folder.iterdir()] if folder.is_dir() else []
        return tuple(stored for _, stored in sorted(found, key=lambda each: each[0]) if stored is not None)

    def _read(self, folder: Path) -> tuple[_Stamp, StoredModel | None]:
        """One version, parsed again only if its file changed: GET /models reads all of them."""
        try:
            status = (folder / MODEL_YAML).stat()
        except OSError:  # a file, or a folder without this file
            return (0, 0, 0), None
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        read = self._read_before.get(folder)
        if read is None or read[0] != stamp:
            read = self._read_before[folder] = (stamp, _parse(folder))
        return read


def _parse(folder: Path) -> StoredModel | None:
    """One version; None for a broken folder, another program's model, or another format."""
    try:
        content = read_yaml(folder / MODEL_YAML)
        stored = StoredModel(
            f"{content['name']}:{content['version']}", folder, ModelFacts.model_validate(content["metadata"])
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    return stored if stored.facts.format == FORMAT else None


@functools.cache
def _block(text: str) -> ModelSpec:
    return ModelSpec.model_validate_json(text)


def open_catalog(settings: Settings, store: ModelStore) -> Catalog:
    """Every model of this service: the catalogue, EXTRA_CATALOG, MODEL_ALIASES, and models imported by name.

    CatalogError if a file or an alias is wrong.
    """
    return load_catalog(settings.extra_catalog, stored=store.blocks).with_aliases(settings.model_aliases)
