"""The served process and the expected numbers, both from the main environment; the clients have one of their own."""

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
    """sentence-transformers; loads while the server starts."""
    with main_process("tests.clients.expected") as process:
        yield Reference(process)


@pytest.fixture(scope="session")
def servers(reference: Reference) -> Iterator[dict[str, str]]:
    """Name -> URL: `python -m tests.clients` says where they are, else they are started here."""
    if known := os.environ.get("CLIENTS_SERVERS"):
        yield json.loads(known)
        return
    with main_process("tests.clients.server") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


@pytest.fixture(scope="session")
def url(servers: dict[str, str]) -> str:
    """The server for everybody."""
    return servers["open"]


@pytest.fixture(scope="session")
def guarded_url(servers: dict[str, str]) -> str:
    """The server that wants a key."""
    return servers["guarded"]


@pytest.fixture
def crowded_url(guarded_url: str) -> Iterator[str]:
    """The same while it is at work: it answers 429 to all."""
    with Crowd(guarded_url):
        yield guarded_url


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a client would have waited before each repetition; nobody sleeps."""
    lengths: list[float] = []
    monkeypatch.setattr(time, "sleep", lengths.append)
    return lengths
