"""Invalid requests of all kinds get 4xx with our error body, never 5xx, and are not quoted in the log."""

import json
import pickle
import socket
from typing import Any

import httpx
import pytest

from tests.errors import message_of
from tests.serving import Served, read_all, until

MARKER = "marker5f0c2ba1d7e94c6f8a3b90e41d2c7b6a"
"""Included in every invalid request; must not appear in responses or the log."""
PATHS = ("/v1/embeddings", "/v1/rerank")

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "text": MARKER.encode(),
    "cut": f'{{"input": "{MARKER}'.encode(),
    "list": json.dumps([MARKER]).encode(),
    "string": json.dumps(MARKER).encode(),
    "null": b"null",
    "two objects": f'{{"input": "{MARKER}"}}{{}}'.encode(),
    "NaN": f'{{"input": "{MARKER}", "query": "{MARKER}", "documents": ["a"], "top_n": NaN}}'.encode(),
    "Infinity": f'{{"input": "{MARKER}", "query": "{MARKER}", "documents": ["a"], "top_n": -Infinity}}'.encode(),
    "invalid UTF-8": b'{"input": "' + MARKER.encode() + b'\xff\xc3\x28"}',
    "UTF-16": json.dumps({"input": MARKER}).encode("utf-16"),
    "lone surrogate": f'{{"input": "{MARKER}\\ud800", "query": "q", "documents": ["d"]}}'.encode(),
    "deep list": b'{"' + MARKER.encode() + b'": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep object": b'{"a":' * 200_000 + b'"' + MARKER.encode() + b'"' + b"}" * 200_000,
    "huge number": f'{{"input": "{MARKER}", "documents": ["{MARKER}"], "query": {"9" * 10_000}}}'.encode(),
    "pickle": pickle.dumps({"input": MARKER}),
    "form": f"input={MARKER}&query={MARKER}&documents={MARKER}".encode(),
    "huge": b'{"input": "' + MARKER.encode() * 300_000 + b'"}',
}
FIELDS: list[dict[str, Any]] = [
    {},
    {MARKER: MARKER},
    {"input": None, "query": MARKER, "documents": None},
    {"input": {MARKER: MARKER}, "query": {MARKER: 1}, "documents": {MARKER: 1}},
    {"input": [[MARKER]], "query": MARKER, "documents": [[MARKER]]},
    {"input": [MARKER, ""], "query": "", "documents": [MARKER, ""]},
    {"input": [""], "query": "", "documents": [{"text": ""}]},
    {"input": MARKER, "return_multivector": True, "query": MARKER, "documents": [MARKER], "rewrite_query": True},
    {"input": [{}] * 1000, "query": MARKER, "documents": [MARKER], "rank_fields": [f"{MARKER}{n}" for n in range(101)]},
    {"input": [], "query": MARKER, "documents": []},
    {"input": [MARKER] * 2049, "query": MARKER, "documents": [MARKER] * 1001},
    {"input": MARKER, "query": MARKER, "documents": [MARKER], "model": MARKER},
    {"input": MARKER, "query": MARKER, "documents": [MARKER], "model": [MARKER]},
    {"input": MARKER, "query": MARKER, "documents": [MARKER], "model": f"../../{MARKER}\x00\n"},
    {"input": MARKER, "dimensions": MARKER, "query": MARKER, "documents": [MARKER], "top_n": MARKER},
    {"input": MARKER, "dimensions": -1, "query": MARKER, "documents": [MARKER], "top_n": -1},
    {"input": MARKER, "dimensions": 385, "query": MARKER, "documents": [MARKER], "top_n": 0.5},
    {"input": MARKER, "encoding_format": MARKER, "query": MARKER, "documents": [MARKER], "return_documents": MARKER},
    {"input": MARKER, "truncate": MARKER, "query": MARKER, "documents": [MARKER]},
    {"input": f"{MARKER} " * 1000, "query": "q", "documents": [f"{MARKER} " * 1000], "truncate": False},
]
CONTENT_TYPES = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/vnd.bentoml+pickle",
    "application/octet-stream",
    f"application/{MARKER}",
)
GARBAGE = (
    f"{MARKER}\r\n\r\n",
    f"GET /{MARKER}\r\n\r\n",
    f"{MARKER.upper()} /v1/embeddings HTTP/1.1\r\nHost: x\r\n\r\n",
    f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: {MARKER}\r\n\r\n",
    f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{MARKER}\r\n",
    f"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n{MARKER} {MARKER} {MARKER}\r\n\r\n",
    f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}{MARKER} pipelined\r\n\r\n",
    f"GET /livez HTTP/1.1\r\nHost: \xd1\\u{MARKER}\r\n\r\n",
    f"GET /livez HTTP/1.1\r\nHost: x\r\nX-{MARKER}: {'y' * 200_000}\r\n\r\n",
)


@pytest.fixture(autouse=True)
def _log_has_no_request_content(served: Served, client: httpx.Client) -> Any:
    yield
    assert client.get("/livez").status_code == 200
    log = served.log
    assert MARKER not in log
    assert "Traceback" not in log


def check(response: httpx.Response, *, at_least: int = 400) -> None:
    """Check for a 4xx with our error body."""
    assert at_least <= response.status_code < 500, (response.status_code, response.text[:500])
    message = message_of(response.json())
    assert MARKER not in message


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_invalid_bodies(client: httpx.Client, path: str, body: bytes) -> None:
    check(client.post(path, content=body, headers={"Content-Type": "application/json"}))


def test_invalid_fields(client: httpx.Client) -> None:
    for fields in FIELDS:
        for path in PATHS:
            check(client.post(path, json=fields))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", CONTENT_TYPES)
def test_unusual_content_types(client: httpx.Client, path: str, kind: str) -> None:
    for body in (b"", MARKER.encode(), pickle.dumps(MARKER), f"--x\r\n\r\n{MARKER}\r\n--x--".encode()):
        check(client.post(path, content=body, headers={"Content-Type": kind}))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"])
def test_wrong_methods(client: httpx.Client, method: str) -> None:
    for path in PATHS:
        response = client.request(method, path, content=b"{}")
        assert 400 <= response.status_code < 500
        if method != "HEAD":
            check(response)


@pytest.mark.parametrize(
    "path", [f"/{MARKER}", f"/v1/{MARKER}", f"/v1/models/{MARKER}", f"/%2e%2e/{MARKER}", f"/livez/{MARKER}?a={MARKER}"]
)
def test_unknown_paths(client: httpx.Client, path: str) -> None:
    check(client.get(path), at_least=404)
    check(client.post(path, json={"input": MARKER}), at_least=404)


def test_unknown_paths_share_one_label(client: httpx.Client) -> None:
    for number in range(20):
        client.get(f"/{MARKER}/{number}")
        client.get(f"/v1/models/{MARKER}-{number}")
    metrics = client.get("/metrics").text
    assert MARKER not in metrics
    assert 'route="/unknown"' in metrics
    assert 'route="/v1/embeddings"' in metrics


@pytest.mark.parametrize("sent", GARBAGE)
def test_invalid_http(served: Served, sent: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(sent.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    statuses = [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert all(status < 500 for status in statuses), answer
    assert MARKER.encode() not in answer


def test_disconnecting_clients(served: Served, client: httpx.Client) -> None:
    """During the body and during the response: the server continues and logs no traceback."""
    body = json.dumps({"input": [f"{MARKER} {number}" for number in range(1000)]}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    before = closed(client)
    for part in (len(body) // 2, len(body)):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", served.port)) as connection:
                connection.sendall(head + body[:part])
    until(lambda: closed(client) == before + 10, what="the end of the disconnected requests")
    answer = client.post("/v1/embeddings", json={"input": "still here"})
    assert answer.status_code == 200


def closed(client: httpx.Client) -> float:
    """Number of requests to /v1/embeddings with status 499."""
    lines = client.get("/metrics").text.splitlines()
    mine = ("service_requests_total{", 'route="/v1/embeddings"', 'status="499"')
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(part in line for part in mine))
