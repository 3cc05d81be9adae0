"""Tiny checkpoints in Hub layout, brought into a store of their own by the real import, verification included."""

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

from importing.registration import register_checkpoint
from importing.verify import verify
from models.catalog import ModelSpec, load_catalog
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
"""What every document of these tests is scored against."""


def _check(spec: ModelSpec, stored: StoredModel) -> None:
    verify(spec, stored, SETTINGS)


def _silent(_done: int, _total: int) -> None:
    """Nobody watches the progress."""


def import_folder(spec: ModelSpec, folder: Path, store: ModelStore) -> StoredModel:
    """The real import of a folder; the numbers are probed, goldens do not apply to random weights."""
    return register_checkpoint(spec, store=store, settings=SETTINGS, check=_check, progress=_silent, from_dir=folder)


@dataclass(frozen=True)
class Model:
    """A checkpoint as the Hub has it, and what our import made of it."""

    spec: ModelSpec
    original: Path
    stored: StoredModel

    @contextmanager
    def running(self, device: Device = DEVICE, **facts: Any) -> Iterator[LoadedModel]:
        """The model in memory, with some facts changed."""
        stored = replace(self.stored, facts=self.stored.facts.model_copy(update=facts))
        loaded = load_model(self.spec, stored, device, SETTINGS)
        try:
            yield loaded
        finally:
            loaded.close()


class Workshop:
    """Builds a checkpoint once a run, imports it once for each way of importing it, for all processes of the run."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory

    def original(self, name: str) -> Path:
        """The folder of a checkpoint; not to be written to."""
        repo = CATALOG.get(name).repo
        return made_once(self._factory, f"original-{name}", lambda folder: tiny.build(repo, folder))

    def copy(self, name: str, target: Path) -> Path:
        """A copy to be spoilt."""
        return shutil.copytree(self.original(name), target)

    def model(self, name: str, **changes: Any) -> Model:
        """The imported model; `changes` are of its block in the catalogue."""
        spec, original = CATALOG.get(name).model_copy(update=changes), self.original(name)
        key = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:8]
        home = made_once(
            self._factory, f"imported-{name}-{key}", lambda home: import_folder(spec, original, ModelStore(home))
        )
        stored = ModelStore(home).find(spec)
        assert stored is not None
        return Model(spec, original, stored)


async def answer(
    model: LoadedModel, texts: Sequence[str], *, query: str = QUERY, truncate: Truncate = "end"
) -> EmbeddingResult | RerankResult:
    """What the model's runner makes of the texts, or of each text as a document for the query."""
    if isinstance(model.runner, EmbeddingRunner):
        return await model.runner.embed(texts, EmbeddingOptions(truncate=truncate))
    return await model.runner.rerank(query, texts, RerankOptions(truncate=truncate))


def numbers(result: EmbeddingResult | RerankResult) -> Floats:
    """Unit vectors (N, D) of an embedder, logits (N,) of a reranker."""
    return result.vectors if isinstance(result, EmbeddingResult) else result.raw


async def served(model: Model, texts: Sequence[str], **facts: Any) -> Floats:
    """Load, compute, close: the numbers for these texts."""
    with model.running(**facts) as loaded:
        return numbers(await answer(loaded, texts))
