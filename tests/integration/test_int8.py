"""DTYPE=int8: close to sentence-transformers with real weights; inaccurate models are rejected; auto never uses it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from errors import ModelUnavailableError
from importing import int8
from importing.openvino_export import export
from importing.registration import packaged_folder
from models.store import ModelStore, StoredModel
from runners.backends.openvino import OpenVINOBackend, find_export, precisions
from runners.backends.torch import TorchBackend
from runners.devices import Device
from runners.loading import computing_dtype, load_backend, needs_export
from settings import Settings
from tests.integration.architectures.workshop import CATALOG, Model, Workshop, import_folder
from tests.variant import THREADS

AUTO = Device("cpu", "cpu", "float32", threads=THREADS)
INT8 = replace(AUTO, requested_dtype="int8")
SETTINGS = Settings()
EMBEDDER, RERANKER = "multilingual-e5-small", "ms-marco-minilm-l-6-v2"
LOWEST_COSINE = 0.99
"""Minimum cosine to sentence-transformers in float32; 0.9963 was measured for the shortest text."""


def stored_copy(model: Model, folder: Path) -> StoredModel:
    """The model without its exports."""
    shutil.copytree(model.stored.folder, folder, ignore=shutil.ignore_patterns("openvino"))
    return replace(model.stored, folder=folder)


def test_real_weights_are_close_to_sentence_transformers(tmp_path: Path) -> None:
    spec = CATALOG.get("all-minilm-l6-v2")
    weights = packaged_folder(spec)
    assert weights is not None
    stored = import_folder(spec, weights, ModelStore(tmp_path))
    report = export(stored.folder, spec, stored.facts, "int8")
    assert (report["f32"], str(report["cost"])[:17]) == (None, "lowest cosine 0.9")
    backend = load_backend(spec, stored, INT8, SETTINGS)
    assert (backend.dtype, backend.weights_dtype) == ("int8", "int8")
    assert backend.name == f"openvino int8+{precisions()[-1]} on cpu"
    found = backend.forward(int8.sample(spec, stored))
    texts = [*int8.QUERIES, *int8.PASSAGES]
    expected = SentenceTransformer(str(weights), device="cpu").encode(texts, normalize_embeddings=True)
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() >= LOWEST_COSINE
    backend.close()


def test_a_reranker_keeps_the_order_of_float32(workshop: Workshop) -> None:
    model = workshop.model(RERANKER)
    report = export(model.stored.folder, model.spec, model.stored.facts, "int8")
    assert str(report["cost"]).startswith("Kendall's tau "), report
    backend = load_backend(model.spec, model.stored, INT8, SETTINGS)
    exact = load_backend(model.spec, model.stored, AUTO, Settings(backend="torch"))
    sequences = int8.sample(model.spec, model.stored)
    cost = int8.cost(exact.forward(sequences), backend.forward(sequences))
    assert cost.refusal is None
    assert str(cost).split(",")[0] == str(report["cost"]).split(",")[0]
    backend.close()
    exact.close()


def test_an_inaccurate_model_is_rejected_with_figures_and_limit(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = workshop.model(EMBEDDER)
    stored = stored_copy(model, tmp_path / "refused")
    monkeypatch.setattr(int8, "MIN_COSINE", 1.5)
    report = export(stored.folder, model.spec, stored.facts, "int8")
    assert "cost" not in report
    reason = r"lowest cosine 0\.9\d+, mean cosine 0\.9\d+ \(at least: lowest cosine 1\.5\)"
    with pytest.raises(ModelUnavailableError, match=f"DTYPE=int8 cannot serve {model.spec.name}: .*{reason}"):
        load_backend(model.spec, stored, INT8, SETTINGS)
    assert not needs_export(stored, INT8, SETTINGS)
    assert isinstance(load_backend(model.spec, stored, AUTO, SETTINGS), TorchBackend)


def test_auto_never_uses_int8(workshop: Workshop, tmp_path: Path) -> None:
    model = workshop.model(EMBEDDER)
    stored = stored_copy(model, tmp_path / "auto")
    export(stored.folder, model.spec, stored.facts, "int8")
    assert find_export(stored.folder) is None
    assert needs_export(stored, AUTO, SETTINGS)
    assert isinstance(load_backend(model.spec, stored, AUTO, SETTINGS), TorchBackend)
    assert computing_dtype(stored, INT8, SETTINGS) == "int8"
    assert computing_dtype(stored, AUTO, SETTINGS) != "int8"
    export(stored.folder, model.spec, stored.facts)
    backend = load_backend(model.spec, stored, AUTO, SETTINGS)
    assert isinstance(backend, OpenVINOBackend)
    assert "int8" not in {backend.dtype, backend.weights_dtype}
    backend.close()
