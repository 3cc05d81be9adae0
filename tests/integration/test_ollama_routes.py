"""Ollama's routes: its format, with the numbers of sentence-transformers."""

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.catalog import load_catalog
from tests.integration.conftest import DEFAULT_EMBEDDER, DEFAULT_RERANKER, E5, App, embed, ok
from tests.integration.reference import ATOL, LONG, TEXTS, ReferenceEmbedder


def refused(response: httpx.Response, status: int) -> str:
    """Check the status and that the error is Ollama's, and return its message."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    message = response.json()["error"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize("model", [None, "bge-m3", "bge-m3:latest", "BAAI/bge-m3:LATEST", "tei"])
def test_embed(api: httpx.Client, default: ReferenceEmbedder, model: str | None) -> None:
    body = ok(api.post("/api/embed", json={"model": model, "input": TEXTS}))
    assert_allclose(np.asarray(body["embeddings"]), default.encode(TEXTS), atol=ATOL)
    assert set(body) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}
    assert body["model"] == (model or DEFAULT_EMBEDDER)
    assert body["prompt_eval_count"] == default.count(TEXTS)
    assert body["total_duration"] > 0


def test_one_text(api: httpx.Client, default: ReferenceEmbedder) -> None:
    body = ok(api.post("/api/embed", json={"model": "bge-m3", "input": TEXTS[0]}))
    assert_allclose(np.asarray(body["embeddings"]), default.encode(TEXTS[:1]), atol=ATOL)
    older = ok(api.post("/api/embeddings", json={"model": "bge-m3:latest", "prompt": TEXTS[0]}))
    assert older == {"embedding": body["embeddings"][0]}


def test_a_name_may_select_the_side(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    body = ok(api.post("/api/embed", json={"model": f"{E5}:query:latest", "input": TEXTS}))
    assert_allclose(np.asarray(body["embeddings"]), e5.encode(TEXTS, prompt="query: "), atol=ATOL)


@pytest.mark.parametrize("dimensions", [0, None, 8])
def test_dimensions(api: httpx.Client, default: ReferenceEmbedder, dimensions: int | None) -> None:
    body = ok(api.post("/api/embed", json={"model": "bge-m3", "input": TEXTS, "dimensions": dimensions}))
    vectors = default.encode(TEXTS)[:, : dimensions or None]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert_allclose(np.asarray(body["embeddings"]), vectors, atol=ATOL)


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
def test_a_request_without_a_text_loads_the_model(app: App, path: str) -> None:
    embed(app.client, ["loads the default model"])
    for fields in ({}, {"input": "", "prompt": ""}, {"input": None, "prompt": None}):
        body = ok(app.client.post(path, json={"model": "bge-m3", **fields}))
        assert body.get("embeddings", body.get("embedding")) == []
    assert app.loaded("bge-m3")
    assert "cannot embed" in refused(app.client.post(path, json={"model": DEFAULT_RERANKER}), 400)


def test_long_texts(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    request = {"model": E5, "input": ["a", LONG]}
    body = ok(api.post("/api/embed", json=request))
    assert_allclose(np.asarray(body["embeddings"]), e5.encode(["a", LONG]), atol=ATOL)
    assert body["warnings"][0].startswith("input.1 was cut from ")
    assert "the model takes 512" in refused(api.post("/api/embed", json=request | {"truncate": False}), 400)
    older = ok(api.post("/api/embeddings", json={"model": E5, "prompt": LONG}))
    assert older["warnings"][0].startswith("prompt.0 was cut from ")


def test_options_that_would_matter_have_a_warning(api: httpx.Client) -> None:
    request: dict[str, Any] = {"model": "bge-m3", "input": ["one two three four five six"], "keep_alive": "10m"}
    for harmless in (None, {}, {"temperature": 0.1, "num_ctx": None}, {"num_ctx": 4096}):
        assert "warnings" not in ok(api.post("/api/embed", json=request | {"options": harmless}))
    (warning,) = ok(api.post("/api/embed", json=request | {"options": {"num_ctx": 3}}))["warnings"]
    assert warning.startswith("options.num_ctx is not applied")
    assert ok(api.post("/api/embed", json=request | {"mystery": 1}))["warnings"] == ["Ignored fields: mystery."]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"model": "absent", "input": "a"}, "There is no model of that name."),
        ({"model": 3, "input": "a"}, "model: "),
        ({"model": "bge-m3", "input": [1, 2]}, "input.0: "),
        ({"model": "bge-m3", "input": ["a", ""]}, "input.1: "),
        ({"model": "bge-m3", "input": {"text": "a"}}, "input: "),
        ({"model": "bge-m3", "input": "a", "dimensions": -1}, "dimensions must be between 1 and "),
        ({"model": "bge-m3", "input": "a", "dimensions": 10**6}, "dimensions must be between 1 and "),
        ({"model": "bge-m3", "input": "a", "truncate": 1}, "truncate: "),
        ({"model": "bge-m3", "input": "a", "options": 1}, "options: "),
        ({"model": "bge-m3", "input": ["a"] * 2049}, "input has 2049 items"),
    ],
)
def test_errors_are_ollamas(api: httpx.Client, body: dict[str, Any], reason: str) -> None:
    status = 404 if body["model"] == "absent" else 400
    assert refused(api.post("/api/embed", json=body), status).startswith(reason)


def test_errors_of_the_path_are_ollamas(api: httpx.Client) -> None:
    refused(api.post("/api/generate", json={"model": "bge-m3"}), 404)
    refused(api.get("/api/embed"), 405)
    refused(api.post("/api/embed", content=b"{"), 400)


def test_tags_are_the_embedding_models(api: httpx.Client) -> None:
    models = ok(api.get("/api/tags"))["models"]
    assert [model["name"] for model in models] == [
        f"{spec.name}:latest" for spec in load_catalog() if spec.kind == "embedding"
    ]
    (found,) = [model for model in models if model["name"] == "bge-m3:latest"]
    assert found["model"] == found["name"]
    assert found["size"] > 1e9
    assert found["details"]["parameter_size"] == "568M"


@pytest.mark.parametrize("field", ["model", "name"])
def test_show(api: httpx.Client, field: str) -> None:
    body = ok(api.post("/api/show", json={field: "bge-m3:latest", "verbose": True}))
    assert body["capabilities"] == ["embedding"]
    assert body["license"] == "MIT"
    assert body["model_info"]["transformer.context_length"] == 8192
    assert ok(api.post("/api/show", json={field: DEFAULT_RERANKER}))["capabilities"] == []
    assert refused(api.post("/api/show", json={}), 400).startswith("model: ")
    refused(api.post("/api/show", json={field: "absent"}), 404)


def test_ps_and_version(app: App) -> None:
    embed(app.client, ["loads the default model"])
    (found,) = [m for m in ok(app.client.get("/api/ps"))["models"] if m["name"] == "bge-m3:latest"]
    assert found["size"] == app.loaded("bge-m3").memory_bytes > 0
    assert found["size_vram"] == 0
    assert found["details"]["quantization_level"] == "F32"
    assert ok(app.client.get("/api/version"))["version"].count(".") == 2
