"""What a served process does at its worst: SIGTERM under load, a full disk at import."""

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
"""Every Python process reads this at its start: while the flag is there, an import can write nothing."""


def embed(url: str, texts: str | list[str], model: str = MODEL) -> httpx.Response:
    """One request over a connection of its own."""
    return http_post(f"{url}/v1/embeddings", json={"model": model, "input": texts}, timeout=120)


def vector(response: httpx.Response) -> list[float]:
    """The first vector of an answer, which must be 200."""
    assert response.status_code == 200, response.text
    numbers: list[float] = response.json()["data"][0]["embedding"]
    return numbers


def state(url: str, name: str) -> dict[str, Any]:
    """What /models says of one model."""
    models = http_get(f"{url}/models", timeout=300).json()["models"]
    facts: dict[str, Any] = next(model for model in models if model["id"] == name)
    return facts


class Load:
    """Clients that ask without pause until the server is gone, and how each request ended."""

    def __init__(self, url: str) -> None:
        self.sent: Counter[str] = Counter()
        self.ended: Counter[int | str] = Counter()
        self.gone = Event()
        self._url = url

    def client(self, number: int) -> tuple[Counter[str], Counter[int | str]]:
        """Every fourth client sends bulk requests, the others one text each."""
        texts = [f"text {place} of client {number} " * 5 for place in range(20)] if number % 4 == 0 else SMALL
        sent: Counter[str] = Counter()
        ended: Counter[int | str] = Counter()
        while not self.gone.is_set():
            sent["requests"] += 1
            try:
                response = embed(self._url, texts)
            except httpx.ConnectError:  # refused: nobody listens any more
                ended["refused"] += 1
                self.gone.set()
            except (httpx.NetworkError, httpx.ProtocolError):  # and no timeout: nobody may be left hanging
                ended["closed"] += 1
            else:
                ended[response.status_code] += 1
                if response.status_code == 200:
                    assert len(response.json()["data"]) == (1 if texts == SMALL else 20)
                else:
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
        ended = sum((counts for _, counts in results), Counter[int | str]())
        assert not alive
        assert server.supervisor.returncode == 0
        assert ended.total() == sent >= 100
        assert set(ended) <= {200, 503, "refused", "closed"}, ended
        # Closed unanswered: a connection that the worker had accepted and not read, and then one that still waited in
        # the supervisor's listening socket, for each client at most; after that every connection is refused.
        assert ended["closed"] <= 2 * CLIENTS
        assert "Traceback" not in server.log, server.log


def answered(server: Served) -> float:
    """Embedding requests that were answered, from the metrics."""
    lines = http_get(f"{server.url}/metrics", timeout=300).text.splitlines()
    done = [line for line in lines if "service_requests_total{" in line and 'route="/v1/embeddings"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in done)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Folders of two checkpoints that are not in the store, and their catalogue."""
    for repo in (REPO, SECOND_REPO):
        tiny.build("intfloat/multilingual-e5-small", tmp_path / "checkpoints" / repo.replace("/", "_"))
    (tmp_path / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
    (tmp_path / "sitecustomize.py").write_text(FULL.format(flag=str(tmp_path / "full")), encoding="utf-8")
    (tmp_path / "full").touch()
    return tmp_path


@pytest.fixture
def shopping(imported: Path, shop: Path) -> Iterator[Served]:
    """The service that may import them."""
    settings = SETTINGS | {
        "EXTRA_CATALOG": str(shop / "catalog.yaml"),
        "RERANKER_MODELS_DIR": str(shop / "checkpoints"),
        "BACKEND": "torch",
        "PYTHONPATH": str(shop),
    }
    with serve(copy_home(imported, shop / "home"), **settings) as server:
        yield server


def test_a_full_disk_at_import(shopping: Served, shop: Path) -> None:
    """Simulated by a limit on the size of files in the importing child."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: embed(shopping.url, SMALL, NAME), range(200)))
    messages = {refused(answer, 503, "model_unavailable") for answer in answers}
    (message,) = messages
    assert "(File too large). Is the disk full or read-only?" in message
    assert state(shopping.url, NAME)["state"] == "unavailable"
    home = shop / "home"
    assert not list((home / "models").glob("*tiny-embedder*/*/model.yaml"))
    assert not [path for path in (home / "imports").iterdir() if path.is_dir()]
    vector(embed(shopping.url, SMALL))  # others are served
    (shop / "full").unlink()
    first = vector(embed(shopping.url, SMALL, SECOND_NAME))
    until(lambda: embed(shopping.url, SMALL, NAME).status_code == 200, what="another try")  # after half a minute
    assert_allclose(vector(embed(shopping.url, SMALL, NAME)), first, atol=FLOAT32)  # same seed, same weights
