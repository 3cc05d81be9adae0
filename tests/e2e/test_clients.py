"""The clients' own tests, tests/clients, in their environments, all against one set of servers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.clients.server import serve_all
from tests.serving import ROOT

LIBRARIES = [f"tests/clients/test_{name}.py" for name in ("capture", "haystack", "langchain", "litellm", "llama_index")]
"""Libraries that only the large environment has; the quick one has newer versions of the others."""


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Name -> URL."""
    with serve_all() as urls:
        yield urls


@pytest.mark.parametrize(
    ("environment", "option", "tests"),
    [(".venv-clients-quick", " --quick", ["tests/clients"]), (".venv-clients", "", LIBRARIES)],
)
def test_clients(servers: dict[str, str], environment: str, option: str, tests: list[str]) -> None:
    python = ROOT / environment / "bin/python"
    assert python.exists(), f"The client libraries are missing: run scripts/install_clients{option}."
    known = os.environ | {"CLIENTS_SERVERS": json.dumps(servers)}
    result = subprocess.run(
        [python, "-m", "pytest", *tests], cwd=ROOT, env=known, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
