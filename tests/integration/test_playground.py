"""The playground's files, and loading, unloading and importing by request, in the whole app."""

from __future__ import annotations

import logging
import re
import socket

import httpx
import pytest

from api.playground import FOLDER
from tests.errors import refused
from tests.integration.conftest import DEFAULT_EMBEDDER, App, Checkpoint, RunApp, embed, ok
from tests.serving import read_all

SHORT = "bge-m3"
KEY = "sk-playground"


def test_the_page_is_served(api: httpx.Client) -> None:
    page = api.get("/playground")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert all("unsafe" not in value and "*" not in value and "http" not in value for value in policy.values())


def test_all_files_of_the_page_are_served(api: httpx.Client) -> None:
    kinds = {".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    files = [path for path in FOLDER.rglob("*") if path.suffix in kinds]
    assert len(files) > 20
    for path in files:
        answer = api.get(f"/playground/{path.relative_to(FOLDER)}")
        assert (answer.status_code, answer.content) == (200, path.read_bytes()), path
        assert kinds[path.suffix] in answer.headers["content-type"]
        assert answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_unchanged_file_gets_304(api: httpx.Client) -> None:
    first = api.get("/playground/app.js")
    again = api.get("/playground/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"
    head = api.head("/playground/app.js")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])


OUTSIDE = [
    "/playground/../settings.py",
    "/playground/..%2fsettings.py",
    "/playground/%2e%2e/settings.py",
    "/playground/%2e%2e%2fapi%2fkeys.py",
    "/playground//etc/passwd",
    "/playground/%2fetc%2fpasswd",
    "/playground/..\\settings.py",
    "/playground/strings",
    "/playground/strings/",
    "/playground/app.js%00.css",
    "/playground/" + "a" * 5000 + ".js",
    "/playground/index.html",
    "/playground/nothing.js",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_other_files_are_not_served(app: App, path: str) -> None:
    """Sent unchanged over a socket, because clients normalize paths."""
    with socket.create_connection(("127.0.0.1", app.server.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]
    assert b"route_not_found" in answer


def test_other_methods_get_405(api: httpx.Client) -> None:
    refused(api.post("/playground"), 405, "method_not_allowed")
    refused(api.delete("/playground/app.js"), 405, "method_not_allowed")


def test_metrics_have_one_label_for_all_files(api: httpx.Client) -> None:
    for path in ("app.js", "style.css", "nothing.js", "nothing-else.js"):
        api.get(f"/playground/{path}")
    metrics = api.get("/metrics").text
    assert 'route="/playground/{file}"' in metrics
    assert "app.js" not in metrics
    assert "nothing" not in metrics


def test_the_documentation_page_links_to_it(api: httpx.Client) -> None:
    assert "(./playground)" in ok(api.get("/docs.json"))["info"]["description"]


def test_the_documentation_page_has_this_services_name(api: httpx.Client) -> None:
    page = api.get("/").text
    assert "<title>Rerank &amp; Embedding API</title>" in page
    assert "http" not in page.lower()  # no links or scripts of other sites
    files = re.findall(r'(?:href|src)="(static_content/[^"]+)"', page)
    assert [api.get(f"/{file}").status_code for file in files] == [200, 200]


def test_models_has_the_limits_and_defaults_for_the_page(api: httpx.Client) -> None:
    embed(api, ["a"])
    listing = ok(api.get("/models"))
    assert listing["limits"] == {"max_inputs": 2048, "max_documents": 1000, "max_body_bytes": 64 * 2**20}
    assert (listing["playground"], listing["admin"]) == (True, False)
    assert listing["tasks"] == ["embeddings", "rerank"]
    memory = {model["id"]: model["memory_bytes"] for model in listing["models"]}
    assert memory[SHORT] > 0
    assert memory["e5-large"] is None


def test_managing_models_requires_admin(api: httpx.Client) -> None:
    refused(api.post(f"/models/{SHORT}/unload"), 403, "forbidden")
    assert not [path for path in ok(api.get("/docs.json"))["paths"] if path.endswith("load")]


def test_playground_false_serves_no_page(run_app: RunApp) -> None:
    with run_app(PLAYGROUND="false") as app:
        for path in ("/playground", "/playground/app.js", "/playground/"):
            refused(app.client.get(path), 404, "route_not_found")
        assert "playground" not in ok(app.client.get("/docs.json"))["info"]["description"]
        assert ok(app.client.get("/models"))["playground"] is False


def test_with_api_keys_only_the_page_is_open(run_app: RunApp) -> None:
    with run_app(API_KEYS=KEY, ADMIN="true") as app:
        for path in ("/playground", "/playground/app.js", "/playground/strings/shell.js"):
            assert app.client.get(path).status_code == 200
        for path in ("/playgrounds", "/models", "/", "/playground/../models"):
            refused(app.client.get(path), 401, "invalid_api_key")
        refused(app.client.post(f"/models/{SHORT}/load"), 401, "invalid_api_key")
        key = {"Authorization": f"Bearer {KEY}"}
        assert ok(app.client.post(f"/models/{SHORT}/load", headers=key))["state"] == "ready"
    with run_app(API_KEYS=KEY, PLAYGROUND="false") as app:
        refused(app.client.get("/playground"), 401, "invalid_api_key")


def test_models_are_loaded_and_unloaded_by_request(
    run_app: RunApp, checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint(DEFAULT_EMBEDDER)
    caplog.set_level(logging.INFO)
    with run_app(ADMIN="true") as app:
        assert "ADMIN is on without API keys" in caplog.text
        assert "playground: http://localhost:7987/playground" in caplog.text
        loaded = ok(app.client.post(f"/models/{SHORT}/load"))
        assert (loaded["id"], loaded["state"]) == (SHORT, "ready")
        assert loaded["memory_bytes"] > 0
        assert ok(app.client.get("/health"))["models_loaded"] == [SHORT]
        unloaded = ok(app.client.post(f"/models/{DEFAULT_EMBEDDER}/unload", headers={"Sec-Fetch-Site": "same-origin"}))
        assert unloaded == {"id": SHORT, "state": "stored", "memory_bytes": None}
        assert ok(app.client.get("/health"))["models_loaded"] == []
        embed(app.client, ["a"])  # the next request loads it again
        assert ok(app.client.post(f"/models/{SHORT}/import"))["state"] == "ready"
        refused(app.client.post("/models/e5-large/import"), 503, "model_unavailable")  # IMPORT_ON_DEMAND is off
        refused(
            app.client.post(f"/models/{SHORT}/unload", headers={"Origin": "http://evil.example"}),
            403,
            "cross_site_request",
        )
        paths = ok(app.client.get("/docs.json"))["paths"]
        assert {f"/models/{{name}}/{act}" for act in ("load", "unload", "import")} <= paths.keys()
        metrics = app.client.get("/metrics").text
        assert 'route="/models/{name}/load"' in metrics
        assert 'route="/models/{name}/unload",status="200"' in metrics.replace(f'model="{SHORT}",', "")
