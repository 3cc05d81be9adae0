"""Stores and checkpoints. Hypothesis tries the same examples in every run; no test fails because a machine is slow."""

from __future__ import annotations

import shutil
from pathlib import Path

import hypothesis
import pytest

from models.store import ModelStore
from tests.tiny import build
from tests.unit.checkpoints import REPO

hypothesis.settings.register_profile(
    "unit",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("unit")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny checkpoint, which no test changes."""
    return build(REPO, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def models_dir(tmp_path: Path, checkpoint: Path) -> Path:
    """RERANKER_MODELS_DIR with that checkpoint."""
    shutil.copytree(checkpoint, tmp_path / "models" / REPO.replace("/", "_"))
    return tmp_path / "models"
