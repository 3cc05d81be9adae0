"""Bodies as clients send them: encoded, marked, in parts, too large, and too many of them."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.testclient import TestClient

from api import body as body_module
from api.body import SMALL_BODY_BYTES, BodyBudget, BodyReader
from api.routing import Request, Route
from errors import BodyTooLargeError, OverloadedError
from settings import load_settings
from tests.errors import refused
from tests.unit.api.apps import client_of

TEXT = json.dumps({"input": "日本語 " * 1000}).encode()


async def echo(request: Request) -> Response:
    return Response(request.body)


ROUTES = [Route("POST", "/echo", echo)]


@pytest.fixture
def client() -> TestClient:
    return client_of(ROUTES, MAX_BODY_BYTES="200000")


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", TEXT),
        ("", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("GZip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("gzip", gzip.compress(TEXT, compresslevel=0)),
    ],
)
def test_encoded_bodies_are_decoded(client: TestClient, encoding: str, body: bytes) -> None:
    assert client.post("/echo", content=body, headers={"Content-Encoding": encoding}).content == TEXT


def test_a_large_encoded_body_is_decoded_off_the_event_loop() -> None:
    content = bytes(range(256)) * 1000
    body = gzip.compress(content, compresslevel=0)
    assert len(body) > SMALL_BODY_BYTES
    client = client_of(ROUTES)
    assert client.post("/echo", content=body, headers={"Content-Encoding": "gzip"}).content == content


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "aes128gcm", "x"])
def test_other_encodings_are_refused(client: TestClient, encoding: str) -> None:
    answer = client.post("/echo", content=b"?", headers={"Content-Encoding": encoding})
    message = refused(answer, 415, "unsupported_encoding")
    assert "gzip or deflate" in message
    assert encoding not in message


@pytest.mark.parametrize("body", [b"", b"\x1f\x8b", gzip.compress(TEXT)[:-9], gzip.compress(TEXT) + b"more", TEXT])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_not_encoded_so_is_refused(client: TestClient, encoding: str, body: bytes) -> None:
    answer = client.post("/echo", content=body, headers={"Content-Encoding": encoding})
    if body:
        refused(answer, 400, "invalid_value")
    else:
        assert answer.content == b""


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(bytes(20_000_000))),
        ("gzip", gzip.compress(bytes(150_000)) * 2),  # members count together
        ("deflate", zlib.compress(bytes(20_000_000))),
        ("deflate", raw_deflate(bytes(20_000_000))),
    ],
    ids=["gzip", "two members", "zlib", "raw"],
)
def test_a_bomb_is_refused_before_it_is_unpacked(client: TestClient, encoding: str, bomb: bytes) -> None:
    answer = client.post("/echo", content=bomb, headers={"Content-Encoding": encoding})
    assert "200000 bytes (MAX_BODY_BYTES)" in refused(answer, 413, "body_too_large")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_left_out(client: TestClient, mark: bytes) -> None:
    assert client.post("/echo", content=mark + TEXT).content == TEXT
    packed = gzip.compress(mark + TEXT)
    assert client.post("/echo", content=packed, headers={"Content-Encoding": "gzip"}).content == TEXT


def test_a_body_that_is_announced_too_large_or_grows_so(client: TestClient) -> None:
    refused(client.post("/echo", content=b"1" * 200_001), 413, "body_too_large")
    refused(client.post("/echo", content=(b"1" * 1000 for _ in range(201))), 413, "body_too_large")
    assert client.post("/echo", content=b"1" * 200_000).status_code == 200


class Sender:
    """The `receive` of a request whose body comes in these parts."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)

    async def __call__(self) -> dict[str, object]:
        return {"type": "http.request", "body": self._parts.pop(0), "more_body": bool(self._parts)}


async def read(reader: BodyReader, *parts: bytes) -> bytes:
    return await reader.read(Sender(*parts), Headers(), lambda: None)


async def test_all_bodies_together_have_a_limit() -> None:
    large = b"x" * (SMALL_BODY_BYTES + 1)
    budget = BodyBudget(load_settings({"MAX_HELD_BODY_BYTES": str(len(large) + 10)}))
    first, second, third = (BodyReader(budget) for _ in range(3))
    assert await read(first, large[:10], large[10:]) == large
    with pytest.raises(OverloadedError, match="MAX_HELD_BODY_BYTES") as refusal:
        await read(second, large[:10], large[10:])
    assert refusal.value.retry_after_s
    assert await read(third, b"small") == b"small"
    first.close()
    second.close()
    third.close()
    assert budget.held_bytes == 0
    assert await read(BodyReader(budget), large) == large


async def test_a_refused_body_gives_its_memory_back() -> None:
    budget = BodyBudget(load_settings({"MAX_BODY_BYTES": "10"}))
    reader = BodyReader(budget)
    with pytest.raises(BodyTooLargeError):
        await read(reader, b"12345", b"67890", b"1")
    assert budget.held_bytes == 10
    reader.close()
    reader.close()
    assert budget.held_bytes == 0


def test_memory_of_large_bodies_is_handed_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(body_module, "return_memory", lambda: calls.append(1))
    budget = BodyBudget(load_settings({}))
    budget.release(1000)
    budget.return_memory()
    assert calls == []
    budget.release(20_000_000)
    budget.return_memory()
    budget.return_memory()
    assert calls == [1]
