"""A Hub for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from tests.hub_server import HubServer, hub_alone


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub whose downloads arrive in small chunks."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what arrived is kept by whole chunks only
    with hub_alone() as server:
        yield server
