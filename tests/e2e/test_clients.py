"""The clients' own tests, tests/clients, in their environments, all against one set of servers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.environment import client_python
from tests.clients.server import serve_all
from tests.serving import ROOT

LIBRARIES = [f"tests/clients/test_{name}.py" for name in ("capture", "haystack", "langchain", "litellm", "llama_index")]
"""Libraries that only the large environment has; the quick one has newer versions of the others."""


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Name -> URL."""
    with serve_all() as urls:
        yield urls


@pytest.mark.parametrize(("quick", "tests"), [(True, ["tests/clients"]), (False, LIBRARIES)])
def test_clients(servers: dict[str, str], quick: bool, tests: list[str]) -> None:
    command = [str(client_python(quick=quick)), "-m", "pytest", *tests]
    known = os.environ | {"CLIENTS_SERVERS": json.dumps(servers)}
    result = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
