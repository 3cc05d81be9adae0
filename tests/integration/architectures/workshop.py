"""Tiny checkpoints in Hub layout, imported into a separate store with verification."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from importing.registration import Check, register_checkpoint
from importing.verify import verify
from models.catalog import ModelSpec, load_catalog
from models.facts import Verification
from models.store import ModelStore, StoredModel
from runners.contracts import EmbeddingOptions, EmbeddingResult, RerankOptions, RerankResult, Truncate
from runners.devices import Device
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.loading import load_model
from settings import Settings
from tests import tiny
from tests.conftest import made_once
from tests.variant import THREADS

Floats = NDArray[np.floating[Any]]

CATALOG = load_catalog()
DEVICE = Device("cpu", "cpu", "float32", threads=THREADS)
SETTINGS = Settings(backend="torch", max_batch_tokens=512)
QUERY = "What is the red planet? 火星"
"""The query of all rerank tests."""


def _check(spec: ModelSpec, stored: StoredModel) -> Verification:
    return verify(spec, stored, SETTINGS)


def check_loading(spec: ModelSpec, stored: StoredModel) -> None:
    """Load a model without comparing it: the comparison rejects variants whose results are wrong."""
    load_model(spec, stored, DEVICE, SETTINGS, measure=False).close()


def _silent(_done: int, _total: int) -> None:
    """Ignore progress reports."""


def import_folder(spec: ModelSpec, folder: Path, store: ModelStore, check: Check = _check) -> StoredModel:
    """Import a folder. Its results are compared; goldens do not apply to random weights."""
    return register_checkpoint(spec, store=store, settings=SETTINGS, check=check, progress=_silent, from_dir=folder)


@dataclass(frozen=True)
class Model:
    """A checkpoint in Hub layout, and its import."""

    spec: ModelSpec
    original: Path
    stored: StoredModel

    @contextmanager
    def running(self, device: Device = DEVICE, **facts: Any) -> Iterator[LoadedModel]:
        """The loaded model, with some facts changed."""
        stored = replace(self.stored, facts=self.stored.facts.model_copy(update=facts))
        loaded = load_model(self.spec, stored, device, SETTINGS, measure=False)
        try:
            yield loaded
        finally:
            loaded.close()


class Workshop:
    """Builds and imports each checkpoint once per run, shared by all processes; once for each set of changes."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory

    def original(self, name: str) -> Path:
        """The folder of a checkpoint; read-only."""
        repo = CATALOG.get(name).repo
        return made_once(self._factory, f"original-{name}", lambda folder: tiny.build(repo, folder))

    def copy(self, name: str, target: Path) -> Path:
        """A copy that a test may change."""
        return shutil.copytree(self.original(name), target)

    def model(self, name: str, **changes: Any) -> Model:
        """The imported model; `changes` apply to its block of the catalogue, and it is then not compared."""
        spec, original = CATALOG.get(name).model_copy(update=changes), self.original(name)
        check = check_loading if changes else _check
        key = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:8]
        home = made_once(
            self._factory, f"imported-{name}-{key}", lambda home: import_folder(spec, original, ModelStore(home), check)
        )
        stored = ModelStore(home).find(spec)
        assert stored is not None
        return Model(spec, original, stored)


async def answer(
    model: LoadedModel, texts: Sequence[str], *, query: str = QUERY, truncate: Truncate = "end"
) -> EmbeddingResult | RerankResult:
    """The runner's result for the texts; for rerankers, for the texts as documents for the query."""
    if isinstance(model.runner, EmbeddingRunner):
        return await model.runner.embed(texts, EmbeddingOptions(truncate=truncate))
    assert model.runner is not None
    return await model.runner.rerank(query, texts, RerankOptions(truncate=truncate))


def numbers(result: EmbeddingResult | RerankResult) -> Floats:
    """Unit vectors (N, D) of an embedder, logits (N,) of a reranker."""
    return result.dense if isinstance(result, EmbeddingResult) else result.raw


async def served(model: Model, texts: Sequence[str], **facts: Any) -> Floats:
    """Load the model, compute the numbers for these texts, and close it."""
    with model.running(**facts) as loaded:
        return numbers(await answer(loaded, texts))
