"""Loading and closing many models."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def frozen_libraries() -> Iterator[None]:
    """Freeze library objects: closing a model runs the garbage collector, which is then ten times faster."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
