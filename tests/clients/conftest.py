"""The servers and the reference, both of which run in the main environment."""

import json
import os
import time
from collections.abc import Iterator

import pytest

from tests.clients.crowd import Crowd
from tests.clients.environment import isolate, main_process
from tests.clients.reference import Reference

isolate()


@pytest.fixture(scope="session")
def reference() -> Iterator[Reference]:
    """sentence-transformers, which loads while the servers start."""
    with main_process("tests.clients.expected") as process:
        yield Reference(process)


@pytest.fixture(scope="session")
def servers(reference: Reference) -> Iterator[dict[str, str]]:
    """Name -> URL of the servers of tests/e2e/test_clients.py, or of servers that are started here."""
    if known := os.environ.get("CLIENTS_SERVERS"):
        yield json.loads(known)
        return
    with main_process("tests.clients.server") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


@pytest.fixture(scope="session")
def url(servers: dict[str, str]) -> str:
    """The server without API keys."""
    return servers["open"]


@pytest.fixture(scope="session")
def guarded_url(servers: dict[str, str]) -> str:
    """The server with an API key."""
    return servers["guarded"]


@pytest.fixture
def crowded_url(guarded_url: str) -> Iterator[str]:
    """The guarded server while its queue is full: all requests get 429."""
    with Crowd(guarded_url):
        yield guarded_url


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waiting times before retries, in seconds; `sleep` is replaced."""
    lengths: list[float] = []
    monkeypatch.setattr(time, "sleep", lengths.append)
    return lengths
