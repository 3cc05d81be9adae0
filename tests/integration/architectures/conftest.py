"""Loading and closing many models."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def frozen_libraries() -> Iterator[None]:
    """Closing a model collects garbage: without torch and transformers to walk through, that is ten times faster."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
