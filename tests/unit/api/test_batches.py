"""/v1/files and /v1/batches over HTTP: uploads as clients send them, queries and hostile input."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.routes import ENDPOINTS
from batches.service import BatchService
from settings import load_settings
from tests.errors import refused
from tests.unit.api.apps import app_of
from tests.unit.batches.process import Process, jsonl, request

CONTENT = jsonl(request("a"), request("b"))
ROUTES = [
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/file-0"),
    ("GET", "/v1/files/file-0/content"),
    ("DELETE", "/v1/files/file-0"),
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/batches/batch_0"),
    ("POST", "/v1/batches/batch_0/cancel"),
]


def client_of(service: BatchService | None, **environment: str) -> TestClient:
    """A client of the batch API's routes."""
    context: Any = SimpleNamespace(batches=service, work=None, settings=load_settings(environment))
    routes = [endpoint.bind(context) for endpoint in ENDPOINTS if endpoint.setting == "batch_dir"]
    return TestClient(app_of(routes, **environment), base_url="http://service.example", raise_server_exceptions=False)


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


@pytest.fixture
def client(process: Process) -> Iterator[TestClient]:
    with client_of(process.service, BATCH_MAX_FILE_BYTES="100000") as client:
        yield client


def upload(
    client: TestClient, content: bytes = CONTENT, name: str = "a.jsonl", fields: dict[str, str] | None = None
) -> Any:
    """The response to an upload."""
    return client.post("/v1/files", files={"file": (name, content)}, data={"purpose": "batch"} | (fields or {}))


def created(client: TestClient) -> dict[str, Any]:
    """A batch over a new file."""
    body = {"input_file_id": upload(client).json()["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    response = client.post("/v1/batches", json=body)
    assert response.status_code == 200, response.text
    batch: dict[str, Any] = response.json()
    return batch


def leftovers(process: Process) -> list[Path]:
    """Everything on disk but empty folders."""
    return [path for path in process.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_setting_the_routes_name_it(method: str, path: str) -> None:
    content = json.dumps({"input_file_id": "f", "endpoint": "/v1/embeddings", "completion_window": "24h"})
    response = client_of(None).request(method, path, content=content)
    assert "BATCH_DIR" in refused(response, 404, "route_not_found")


def test_a_file_from_upload_to_deletion(client: TestClient) -> None:
    made = upload(client, name="folder/../my requests.jsonl").json()
    assert (made["object"], made["bytes"], made["purpose"]) == ("file", len(CONTENT), "batch")
    assert made["filename"] == "my requests.jsonl"
    assert client.get(f"/v1/files/{made['id']}").json() == made
    response = client.get(f"/v1/files/{made['id']}/content")
    assert response.content == CONTENT
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment")
    listed = client.get("/v1/files", params={"purpose": "batch", "limit": 1, "order": "asc"}).json()
    assert listed == {
        "object": "list",
        "data": [made],
        "first_id": made["id"],
        "last_id": made["id"],
        "has_more": False,
    }
    assert client.get("/v1/files", params={"after": made["id"]}).json()["data"] == []
    assert client.delete(f"/v1/files/{made['id']}").json() == {"id": made["id"], "object": "file", "deleted": True}
    assert client.get(f"/v1/files/{made['id']}").status_code == 404


def form(*parts: tuple[str, bytes], boundary: str = "x") -> bytes:
    """A form with these heads and contents of its parts."""
    written = [b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), head.encode(), content) for head, content in parts]
    return b"".join(written) + b"--%b--\r\n" % boundary.encode()


PURPOSE = ('Content-Disposition: form-data; name="purpose"', b"batch")
FILE = ('Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\nContent-Type: text/plain', CONTENT)
OTHER = ('Content-Disposition: form-data; name="other"; filename="b"', b"ignored")
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize("parts", [(PURPOSE, FILE), (FILE, PURPOSE), (FILE, OTHER, PURPOSE)], ids=len)
def test_fields_in_any_order(client: TestClient, parts: Any) -> None:
    made = client.post("/v1/files", content=form(*parts), headers=FORM).json()
    assert client.get(f"/v1/files/{made['id']}/content").content == CONTENT


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_body_in_small_parts(client: TestClient, size: int) -> None:
    body = form(PURPOSE, FILE)
    parts = (body[start : start + size] for start in range(0, len(body), size))
    made = client.post("/v1/files", content=parts, headers=FORM).json()
    assert client.get(f"/v1/files/{made['id']}/content").content == CONTENT


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        (b"{}", {"Content-Type": "application/json"}, None),
        (b"", {}, None),
        (form(PURPOSE, FILE), {"Content-Type": "multipart/form-data"}, None),
        (form(PURPOSE, FILE), {"Content-Type": "multipart/form-data; boundary=" + "x" * 300}, None),
        (b"not a form", FORM, None),
        (form(PURPOSE, FILE)[:-30], FORM, "file"),
        (form(PURPOSE), FORM, "file"),
        (form(FILE), FORM, "purpose"),
        (form(FILE, (PURPOSE[0], b"fine-tune")), FORM, "purpose"),
        (form(PURPOSE, FILE, FILE), FORM, "file"),
        (form(*[OTHER] * 30, PURPOSE, FILE), FORM, None),
        (form((PURPOSE[0], b"batch" * 1000), FILE), FORM, None),
        (form((PURPOSE[0] + "\r\nX: " + "x" * 10_000, b"batch"), FILE), FORM, None),
        (form(("X: " + "\r\nX: ".join("x" * 100), b"batch"), FILE), FORM, None),
    ],
)
def test_hostile_forms(client: TestClient, process: Process, body: bytes, headers: Any, param: str | None) -> None:
    refused(client.post("/v1/files", content=body, headers=headers), 400, "invalid_value", param)
    assert leftovers(process) == []


def test_a_compressed_upload(client: TestClient) -> None:
    response = client.post("/v1/files", content=form(PURPOSE, FILE), headers=FORM | {"Content-Encoding": "gzip"})
    refused(response, 415, "unsupported_encoding")


@pytest.mark.parametrize("size", [100_001, 500_000])
@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_large(client: TestClient, process: Process, size: int, announced: bool) -> None:
    body = form(PURPOSE, (FILE[0], b"x" * size))
    content = body if announced else iter([body[start : start + 65_536] for start in range(0, len(body), 65_536)])
    message = refused(client.post("/v1/files", content=content, headers=FORM), 413, "body_too_large", "file")
    assert "100000 bytes (BATCH_MAX_FILE_BYTES)" in message
    assert leftovers(process) == []


def test_a_file_of_the_largest_size(client: TestClient) -> None:
    assert upload(client, b"x" * 100_000).json()["bytes"] == 100_000


@pytest.mark.parametrize(
    ("seconds", "status"), [("3600", 200), ("3599", 400), ("2592001", 400), ("soon", 400), ("1e4", 400)]
)
def test_expiry(client: TestClient, seconds: str, status: int) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}
    response = upload(client, fields=fields)
    assert response.status_code == status
    if status == 200:
        assert response.json()["expires_at"] == response.json()["created_at"] + 3600
    assert upload(client, fields=fields | {"expires_after[anchor]": "last_active_at"}).status_code == 400


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("limit=%D9%A1", "limit"),
        ("order=up", "order"),
        ("&".join(["a=1"] * 50), None),
    ],
)
def test_wrong_queries(client: TestClient, query: str, param: str | None) -> None:
    refused(client.get(f"/v1/files?{query}"), 400, "invalid_value", param)


def test_a_batch_from_creation_to_cancellation(client: TestClient) -> None:
    batch = created(client)
    assert (batch["object"], batch["status"], batch["metadata"]) == ("batch", "validating", None)
    assert client.get(f"/v1/batches/{batch['id']}").json() == batch
    assert client.get("/v1/batches", params={"limit": 1}).json()["data"] == [batch]
    assert client.get("/v1/batches", params={"after": batch["id"]}).json()["has_more"] is False
    assert client.post(f"/v1/batches/{batch['id']}/cancel").json()["status"] == "cancelling"
    refused(client.get("/v1/batches?limit=101"), 400, "invalid_value", "limit")


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"input_file_id": "file-" + "0" * 32}, "input_file_id"),
        ({"input_file_id": "../../etc/passwd"}, "input_file_id"),
        ({"input_file_id": None}, "input_file_id"),
        ({"endpoint": "/v1/chat/completions"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"key": 7}}, "metadata.key"),
        ({"metadata": {"key": "x" * 513}}, "metadata.key"),
        ({"metadata": dict.fromkeys(map(str, range(17)), "x")}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3600}}, "output_expires_after"),
    ],
    ids=str,
)
def test_wrong_batches(client: TestClient, changed: dict[str, Any], param: str) -> None:
    body = {"input_file_id": upload(client).json()["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    refused(client.post("/v1/batches", json=body | changed), 400, "invalid_value", param)


def test_an_endpoint_that_the_process_does_not_serve(process: Process) -> None:
    client = client_of(process.service, SERVE_TASKS="rerank")
    body = {"input_file_id": upload(client).json()["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert "SERVE_TASKS" in refused(client.post("/v1/batches", json=body), 400, "invalid_value", "endpoint")


async def test_an_output_file_is_no_input(client: TestClient, process: Process) -> None:
    batch = created(client)
    await process.run()
    output = client.get(f"/v1/batches/{batch['id']}").json()["output_file_id"]
    body = {"input_file_id": output, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    refused(client.post("/v1/batches", json=body), 400, "invalid_value", "input_file_id")


@pytest.mark.parametrize("name", ["file-0", "..%2F..%2Fetc%2Fpasswd", "file-" + "0" * 32, "a/b", "%00", "\u3042"])
def test_hostile_ids(client: TestClient, name: str) -> None:
    for path in (f"/v1/files/{name}", f"/v1/files/{name}/content", f"/v1/batches/{name}"):
        refused(client.get(path), 404, "not_found", "id")
    refused(client.delete(f"/v1/files/{name}"), 404, "not_found", "id")
    refused(client.post(f"/v1/batches/{name}/cancel"), 404, "not_found", "id")


def test_a_full_disk(client: TestClient, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = upload(client).json()["id"]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    assert "BATCH_DIR" in refused(upload(client), 507, "storage_full")
    body = {"input_file_id": file_id, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    refused(client.post("/v1/batches", json=body), 507, "storage_full")
    assert len(leftovers(process)) == 2  # the first file and its object


def test_pages_of_other_sites_may_not_change_anything(process: Process) -> None:
    evil = {"Origin": "https://evil.example"}
    client = client_of(process.service, CORS_ORIGINS="https://good.example")
    file = {"file": ("a", CONTENT)}
    refused(client.post("/v1/files", files=file, data={"purpose": "batch"}, headers=evil), 403, "cross_site_request")
    refused(client.delete("/v1/files/file-0", headers=evil), 403, "cross_site_request")
    refused(client.post("/v1/batches/batch_0/cancel", headers=evil), 403, "cross_site_request")
    good = {"Origin": "https://good.example"}
    assert client.post("/v1/files", files=file, data={"purpose": "batch"}, headers=good).status_code == 200
    preflight = good | {"Access-Control-Request-Method": "DELETE"}
    assert client.options("/v1/files/file-0", headers=preflight).status_code == 200


def test_no_text_of_a_user_is_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "a-user's-own-words"
    upload(client, secret.encode(), name=secret)
    client.post("/v1/files", content=b"--x\r\n" + secret.encode(), headers=FORM)
    client.get(f"/v1/files/{secret}", params={"after": secret})
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "asyncio"))]
    assert ours
    assert secret not in "\n".join(ours)
