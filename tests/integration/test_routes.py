"""The GET routes: health, models, documentation and metrics."""

import os
import time
from datetime import datetime
from pathlib import Path

import httpx
import pytest
import sentence_transformers

from tests.integration.conftest import DEFAULT_EMBEDDER, DEFAULT_RERANKER, App, embed, ok, rerank
from tests.unit.fakes import PATIENCE_S


def test_health(api: httpx.Client) -> None:
    embed(api, ["something to load the model for"])
    health = ok(api.get("/health"))
    assert health["status"] == "healthy"
    assert health["platform"] == "cpu"
    assert "bge-m3" in health["models_loaded"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_probes_are_plain(api: httpx.Client, path: str) -> None:
    response = api.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")


def test_models_has_facts_and_states(api: httpx.Client) -> None:
    embed(api, ["something to load the model for"])
    listing = ok(api.get("/models"))
    assert listing["default_embedding_model"] == DEFAULT_EMBEDDER
    assert listing["default_reranker_model"] == DEFAULT_RERANKER
    models = {model["id"]: model for model in listing["models"]}
    ready = models["bge-m3"]
    assert ready["state"] == "ready"
    assert ready["backend"] == "torch float32 on cpu"
    assert (ready["dtype"], ready["weights_dtype"]) == ("float32", "float32")
    assert ok(api.get("/info"))["model_dtype"] == ready["dtype"]
    assert ready["full_name"] == DEFAULT_EMBEDDER
    assert ready["dimensions"] == len(embed(api, ["a"])["data"][0]["embedding"])
    assert ready["max_tokens"] == 8192
    assert ready["stored_bytes"] > 0
    assert ready["tasks"] == ["embedding", "rerank (cosine)"]
    assert models["bge-reranker-v2-m3"]["tasks"] == ["rerank"]
    absent = models["e5-large"]
    assert absent["state"] == "unavailable"
    assert absent["dtype"] is absent["weights_dtype"] is None
    assert "IMPORT_ON_DEMAND" in absent["detail"]


def test_a_stored_model_becomes_ready_on_first_use(app: App) -> None:
    with pytest.raises(StopIteration):
        app.loaded("bge-reranker-v2-m3")
    states = {model["id"]: model["state"] for model in ok(app.client.get("/models"))["models"]}
    assert states["bge-reranker-v2-m3"] == "stored"
    rerank(app.client, "q", ["d"])
    states = {model["id"]: model["state"] for model in ok(app.client.get("/models"))["models"]}
    assert states["bge-reranker-v2-m3"] == "ready"


def test_openai_models(api: httpx.Client) -> None:
    listing = ok(api.get("/v1/models"))
    assert listing["object"] == "list"
    assert len(listing["data"]) == len(ok(api.get("/models"))["models"])
    for model in listing["data"]:
        assert set(model) == {"id", "object", "created", "owned_by", "model_type", "name", "endpoints"}
        assert model["object"] == "model"
    assert listing["models"] == listing["data"]  # for Cohere's clients
    for alias in ("/openai/models?api-version=2024-10-21", "/openai/v1/models"):
        assert ok(api.get(alias)) == listing


@pytest.mark.parametrize("name", ["bge-m3", "BAAI/bge-m3", "baai/BGE-M3", "BAAI%2Fbge-m3"])
def test_one_openai_model(api: httpx.Client, name: str) -> None:
    model = ok(api.get(f"/v1/models/{name}"))
    assert model == {
        "id": "bge-m3",
        "object": "model",
        "created": 0,
        "owned_by": "BAAI",
        "model_type": "embedding",
        "name": "bge-m3",
        "endpoints": ["embed", "rerank"],
    }


def test_docs_json_describes_the_routes(api: httpx.Client) -> None:
    document = ok(api.get("/docs.json"))
    assert document["openapi"].startswith("3.")
    assert {"/v1/embeddings", "/v1/rerank", "/models", "/health"} <= set(document["paths"])
    page = api.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


def test_metrics_ignores_an_empty_worker_file(api: httpx.Client) -> None:
    """prometheus_client creates an empty file before it sets the size."""
    empty = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], "gauge_livesum_999999999.db")
    empty.touch()
    try:
        metrics = api.get("/metrics")
    finally:
        empty.unlink(missing_ok=True)  # housekeeping may have removed it: no process has this id
    assert metrics.status_code == 200
    assert "service_requests_total" in metrics.text


def test_metrics_drops_dead_workers(api: httpx.Client) -> None:
    left = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], "gauge_livesum_999999999.db")
    left.touch()
    end = time.monotonic() + PATIENCE_S
    while left.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not left.exists()


def test_metrics_has_one_label_for_unknown_paths(api: httpx.Client) -> None:
    for path in ("/.env", "/wp-login.php", "/v1/nothing", "/models/bge-m3/x"):
        assert api.get(path).status_code == 404
    api.get("/v1/models/BAAI/bge-m3")
    metrics = api.get("/metrics").text
    assert 'route="/unknown"' in metrics
    assert 'route="/v1/models/{name}"' in metrics
    for scanned in (".env", "wp-login", "/v1/nothing", "BAAI"):
        assert scanned not in metrics


def test_models_shows_what_verified_each_stored_model(api: httpx.Client) -> None:
    models = {model["full_name"]: model for model in api.get("/models").json()["models"]}
    embedder, reranker = models[DEFAULT_EMBEDDER]["verified"], models[DEFAULT_RERANKER]["verified"]
    for verified in (embedder, reranker):
        assert verified["by"] == f"sentence-transformers {sentence_transformers.__version__}"
        assert datetime.fromisoformat(verified["at"]).tzinfo is not None
        assert verified["texts"] > 30
        assert verified["problem"] is None
    assert 0.9999 <= embedder["lowest_cosine"] <= 1
    assert embedder["largest_difference"] is None
    assert reranker["lowest_cosine"] is None
    assert 0 <= reranker["largest_difference"] <= 1e-3
    assert models[DEFAULT_EMBEDDER]["warning"] is None
    assert models["intfloat/e5-large"]["verified"] is None
