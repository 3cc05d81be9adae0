"""Faults of a served process: SIGTERM under load, a full disk during an import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest
from numpy.testing import assert_allclose

from tests import tiny
from tests.conftest import MODEL
from tests.e2e.conftest import SETTINGS
from tests.errors import message_of, refused
from tests.load import ending
from tests.serving import Served, copy_home, http_get, http_post, serve, until
from tests.tolerance import FLOAT32

GRACE_S = 60
CLIENTS = 12
REPO, NAME = "example/tiny-embedder", "tiny-embedder"
SECOND_REPO, SECOND_NAME = "example/tiny-other", "tiny-other"
CATALOG = f"""
models:
  - {{name: {NAME}, repo: {REPO}, kind: embedding, max_tokens: 512}}
  - {{name: {SECOND_NAME}, repo: {SECOND_REPO}, kind: embedding, max_tokens: 512}}
"""
SMALL = "one short text"
FULL = """
import os, resource, sys
if "importing.child" in sys.orig_argv and os.path.exists({flag!r}):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
"""
"""Read by every Python process at start: imports cannot write while the flag file exists."""


def embed(url: str, texts: str | list[str], model: str = MODEL) -> httpx.Response:
    """One request over a new connection."""
    return http_post(f"{url}/v1/embeddings", json={"model": model, "input": texts}, timeout=120)


def vector(response: httpx.Response) -> list[float]:
    """The first vector of a 200 response."""
    assert response.status_code == 200, response.text
    numbers: list[float] = response.json()["data"][0]["embedding"]
    return numbers


def state(url: str, name: str) -> dict[str, Any]:
    """The state of a model in /models."""
    models = http_get(f"{url}/models", timeout=300).json()["models"]
    facts: dict[str, Any] = next(model for model in models if model["id"] == name)
    return facts


class Load:
    """Clients that send requests without pause until the server has exited, and the outcome of each request."""

    def __init__(self, url: str) -> None:
        self.gone = Event()
        self._url = url

    def client(self, number: int) -> tuple[Counter[str], Counter[str]]:
        """Every fourth client sends bulk requests, the others single texts."""
        texts = [f"text {place} of client {number} " * 5 for place in range(20)] if number % 4 == 0 else SMALL
        sent: Counter[str] = Counter()
        ended: Counter[str] = Counter()
        while not self.gone.is_set():
            sent["requests"] += 1
            outcome, response = ending(lambda: embed(self._url, texts))
            ended[outcome] += 1
            if outcome == "refused":  # the server has exited
                self.gone.set()
            elif outcome == "200" and response is not None:
                assert len(response.json()["data"]) == (1 if texts == SMALL else 20)
            elif response is not None:
                message_of(response.json())
        return sent, ended


def test_sigterm_under_load(imported: Path, tmp_path: Path) -> None:
    with serve(copy_home(imported, tmp_path), **SETTINGS) as server, ThreadPoolExecutor(CLIENTS) as pool:
        load = Load(server.url)
        workers = server.workers()
        clients = [pool.submit(load.client, number) for number in range(CLIENTS)]
        until(lambda: answered(server) >= 100, what="a hundred answers")
        server.terminate()
        _, alive = psutil.wait_procs([server.supervisor, *workers], timeout=GRACE_S)
        load.gone.set()
        results = [client.result(timeout=GRACE_S) for client in clients]
        sent = sum(counts["requests"] for counts, _ in results)
        ended = sum((counts for _, counts in results), Counter[str]())
        assert not alive
        assert server.supervisor.returncode == 0
        assert ended.total() == sent >= 100
        assert set(ended) <= {"200", "503", "refused", "lost"}, ended
        # Closed without a response, at most two for each client: a connection that the worker had accepted but not
        # read, and one that waited in the supervisor's listening socket.
        assert ended["lost"] <= 2 * CLIENTS
        assert "Traceback" not in server.log, server.log


def answered(server: Served) -> float:
    """Number of embedding responses in the metrics."""
    lines = http_get(f"{server.url}/metrics", timeout=300).text.splitlines()
    done = [line for line in lines if "service_requests_total{" in line and 'route="/v1/embeddings"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in done)


@pytest.fixture
def importable(tmp_path: Path) -> Path:
    """Folders of two checkpoints that are not imported, and their catalogue."""
    for repo in (REPO, SECOND_REPO):
        tiny.build("intfloat/multilingual-e5-small", tmp_path / "checkpoints" / repo.replace("/", "_"))
    (tmp_path / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
    (tmp_path / "sitecustomize.py").write_text(FULL.format(flag=str(tmp_path / "full")), encoding="utf-8")
    (tmp_path / "full").touch()
    return tmp_path


@pytest.fixture
def importing_service(imported: Path, importable: Path) -> Iterator[Served]:
    """The service that can import them."""
    settings = SETTINGS | {
        "EXTRA_CATALOG": str(importable / "catalog.yaml"),
        "RERANKER_MODELS_DIR": str(importable / "checkpoints"),
        "BACKEND": "torch",
        "PYTHONPATH": str(importable),
    }
    with serve(copy_home(imported, importable / "home"), **settings) as server:
        yield server


def test_an_import_recovers_from_a_full_disk(importing_service: Served, importable: Path) -> None:
    """The disk is simulated by a limit on file sizes in the import process."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: embed(importing_service.url, SMALL, NAME), range(200)))
    messages = {refused(answer, 503, "model_unavailable") for answer in answers}
    (message,) = messages
    assert "(File too large). Is the disk full or read-only?" in message
    assert state(importing_service.url, NAME)["state"] == "unavailable"
    home = importable / "home"
    assert not list((home / "models").glob("*tiny-embedder*/*/model.yaml"))
    assert not [path for path in (home / "imports").iterdir() if path.is_dir()]
    vector(embed(importing_service.url, SMALL))  # other models are still served
    (importable / "full").unlink()
    first = vector(embed(importing_service.url, SMALL, SECOND_NAME))
    until(lambda: embed(importing_service.url, SMALL, NAME).status_code == 200, what="a retry")  # after half a minute
    assert_allclose(vector(embed(importing_service.url, SMALL, NAME)), first, atol=FLOAT32)  # same seed, same weights
