"""The batch API over a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.batches.process import Process


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)
