"""One workshop for all files: a checkpoint is built and imported once."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.integration.architectures.workshop import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Checkpoints and stores of this session."""
    return Workshop(tmp_path_factory.mktemp("architectures"))


@pytest.fixture(scope="package", autouse=True)
def frozen_libraries() -> Iterator[None]:
    """Closing a model collects garbage: without torch and transformers to walk through, that is ten times faster."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
