"""Import on demand: a model is downloaded once while its requests wait, or rejected with the reason."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests import tiny
from tests.conftest import MODEL
from tests.e2e.conftest import SETTINGS
from tests.errors import message_of, refused
from tests.hub_server import HubServer
from tests.serving import Served, copy_home, http_get, http_post, serve, until
from tests.tolerance import openvino_precision, shared_pass_atol

REPO, NAME = "example/tiny-embedder", "tiny-embedder"
SECOND_REPO, SECOND_NAME = "example/tiny-reranker", "tiny-reranker"
CATALOG = f"""
models:
  - name: {NAME}
    repo: {REPO}
    kind: embedding
    max_tokens: 512
  - name: {SECOND_NAME}
    repo: {SECOND_REPO}
    kind: reranker
    max_tokens: 512
"""
"""A user's own catalogue: models with real names have golden numbers, which tiny weights would not match."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub with two tiny models."""
    with HubServer() as server:
        for repo, original in ((REPO, "intfloat/multilingual-e5-small"), (SECOND_REPO, "BAAI/bge-reranker-base")):
            server.add(repo, tiny.build(original, tmp_path_factory.mktemp("repository")))
        yield server


@pytest.fixture(scope="module")
def online(hub: HubServer, imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service with that Hub. It preloads a model whose download hangs until a test releases it."""
    home = copy_home(imported, tmp_path_factory.mktemp("online"))
    weights = hub.hang("model.safetensors", after_bytes=1000)
    (home / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
    requested = {"PRELOAD_MODELS": f"{MODEL},{NAME}", "EXTRA_CATALOG": str(home / "catalog.yaml"), "BACKEND": "torch"}
    settings = SETTINGS | requested | hub.environment(home / "huggingface")
    with serve(home, ready="/livez", **settings) as server:
        try:
            assert weights.arrived.wait(300)
            yield server
        finally:
            weights.released.set()


def state(url: str, name: str) -> dict[str, Any]:
    """The state of a model in /models."""
    models = http_get(f"{url}/models", timeout=300).json()["models"]
    facts: dict[str, Any] = next(model for model in models if model["id"] == name)
    return facts


def embed(url: str, name: str) -> httpx.Response:
    """One request that waits for its model."""
    return http_post(f"{url}/v1/embeddings", json={"model": name, "input": f"for {name}"}, timeout=120)


def test_concurrent_requests_share_one_download(hub: HubServer, online: Served) -> None:
    facts = until(lambda: (found := state(online.url, NAME))["import_progress"] and found, what="progress")
    assert facts["state"] == "importing"
    assert 0 < facts["import_progress"] < 1
    not_ready = http_get(f"{online.url}/readyz")
    assert not_ready.status_code == 503
    message_of(not_ready.json())
    assert embed(online.url, MODEL).status_code == 200  # other models are still served
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(embed, online.url, NAME) for _ in range(20)]
        until(lambda: in_progress(online.url) == 20, what="20 waiting requests")
        assert not any(future.done() for future in waiting)
        for fault in hub._faults:
            fault.released.set()
        answers = [future.result() for future in waiting]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    vectors = np.asarray([answer.json()["data"][0]["embedding"] for answer in answers])
    atol = shared_pass_atol(openvino_precision())
    assert_allclose(vectors, np.broadcast_to(vectors[0], vectors.shape), atol=atol)
    files = Counter(hub.downloads)
    assert files["model.safetensors"] == files["config.json"] == files["tokenizer.json"] == 1
    assert set(files.values()) == {1}
    assert not [name for name in files if name.endswith((".onnx", ".xml", ".md", ".bin"))]
    assert state(online.url, NAME)["state"] == "ready"
    until(lambda: http_get(f"{online.url}/readyz").status_code == 200, what="readiness")


def test_a_model_is_imported_on_first_use(hub: HubServer, online: Served) -> None:
    assert state(online.url, SECOND_NAME)["state"] == "importable"
    body = {"model": SECOND_NAME, "query": "q", "documents": ["a", "b"]}
    answer = http_post(f"{online.url}/v1/rerank", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == 2


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_pages_of_other_sites_cannot_start_an_import(hub: HubServer, online: Served, path: str) -> None:
    """Browsers send text/plain without a CORS preflight."""
    requested = len(hub.requests)
    page = {"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    body = '{"model": "multilingual-e5-small", "input": "a"}'
    answer = http_post(online.url + path, content=body, headers=page, timeout=300)
    assert "CORS_ORIGINS" in refused(answer, 403, "cross_site_request")
    assert state(online.url, "multilingual-e5-small")["state"] == "importable"
    assert len(hub.requests) == requested


def test_a_model_that_is_not_on_the_hub(online: Served) -> None:
    message = refused(embed(online.url, "e5-large"), 503, "model_unavailable")
    assert "intfloat/e5-large" in message
    assert MODEL in message.rsplit("Ready now:", 1)[1]
    assert state(online.url, "e5-large")["state"] == "unavailable"


def test_an_unreachable_hub(served: Served) -> None:
    response = embed(served.url, "e5-base")
    message = refused(response, 503, "model_unavailable")
    assert "HF_ENDPOINT" in message
    assert f"Ready now: {MODEL}." in message
    assert int(response.headers["retry-after"]) > 0
    again = embed(served.url, "e5-base")  # immediately, because the error is cached
    assert message_of(again.json(), "model_unavailable") == message
    assert "Traceback" not in served.log


def in_progress(url: str) -> float:
    """Number of running requests to /v1/embeddings."""
    lines = http_get(f"{url}/metrics").text.splitlines()
    running = [line for line in lines if line.startswith('service_requests_in_progress{route="/v1/embeddings"')]
    return sum(float(line.rsplit(" ", 1)[1]) for line in running)
