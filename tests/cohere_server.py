"""A local server with Cohere's v2 rerank API, which can fail in many ways.

with CohereServer() as cohere:
    cohere.fail(503, times=2)
    client = cohere_sdk.AsyncClientV2(cohere.key, base_url=cohere.url)
"""

import hashlib
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.serving import InProcess

MODELS = ("rerank-multilingual-v3.0", "rerank-v3.5")
KEY = "co-test-4f1e9a7c"
AT_ONCE = {"retry-after-ms": "1"}
"""The SDK uses this header instead of Retry-After, so that tests do not wait for retries."""


def score(query: str, document: str) -> float:
    """A distinct score from 0 to 1 for each pair."""
    digest = hashlib.sha256(f"{query}\0{document}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def input_tokens(query: str, documents: list[str]) -> int:
    """Number of words; the query counts once for each document."""
    return sum(len(query.split()) + len(document.split()) for document in documents)


@dataclass(frozen=True)
class Recorded:
    """A received request."""

    headers: dict[str, str]
    body: Any


class CohereServer:
    """Runs the server on a free port until the block ends."""

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.requests: list[Recorded] = []
        self._failures: deque[ASGIApp] = deque()
        app = Starlette(routes=[Route("/v2/rerank", self._rerank, methods=["POST"])])
        self._server = InProcess(app)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def fail(self, status: int, message: str = "something broke", *, times: int = 1, **headers: str) -> None:
        """Reject the next requests; `Retry_After="7"` is a header. The SDK retries immediately."""
        extra = AT_ONCE | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = JSONResponse({"id": str(uuid.uuid4()), "message": message}, status, headers=extra)
        self._failures.extend([answer] * times)

    def answer(self, body: str | bytes, status: int = 200) -> None:
        """Return this body for the next request."""
        self._failures.append(Response(body, status, media_type="application/json", headers=AT_ONCE))

    def hang(self) -> None:
        """Do not respond to the next request until the client disconnects."""
        self._failures.append(_hang)

    def cut(self) -> None:
        """Close the connection in the middle of the next response."""
        self._failures.append(_cut)

    def reset(self) -> None:
        """Clear the recorded requests and the failures."""
        self.requests.clear()
        self._failures.clear()

    async def _rerank(self, request: Request) -> ASGIApp:
        body = await request.json()
        self.requests.append(Recorded(dict(request.headers), body))
        if self._failures:
            return self._failures.popleft()
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _refused(401, "invalid api token")
        return _ranked(body)


def _ranked(body: Any) -> Response:
    query, documents = body.get("query"), body.get("documents")
    if body.get("model") not in MODELS:
        return _refused(404, f"model '{body.get('model')}' not found, make sure the correct model ID was used")
    if not isinstance(query, str) or not query:
        return _refused(400, "invalid request: query must be a non-empty string")
    if not isinstance(documents, list) or not documents or not all(isinstance(text, str) for text in documents):
        return _refused(400, "invalid request: list of documents must not be empty")
    results = [{"index": index, "relevance_score": score(query, text)} for index, text in enumerate(documents)]
    results.sort(key=lambda result: -result["relevance_score"])
    meta = {
        "api_version": {"version": "2"},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": input_tokens(query, documents)},
    }
    return JSONResponse({"id": str(uuid.uuid4()), "results": results[: body.get("top_n")], "meta": meta})


def _refused(status: int, message: str) -> Response:
    return JSONResponse({"id": str(uuid.uuid4()), "message": message}, status)


async def _hang(_scope: Scope, receive: Receive, _send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Send fewer bytes than Content-Length, so that uvicorn closes the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"results": ['})
