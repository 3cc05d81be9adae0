"""A Hub for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub import close_session, constants

from tests.hub_server import HubServer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub that a client without token and proxy asks; constants stand for what was read at import."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent")
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what arrived is kept by whole chunks only
    close_session()
    with HubServer() as server:
        yield server
    close_session()
