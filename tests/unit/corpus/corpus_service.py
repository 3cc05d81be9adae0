"""A small service for ./embeddings embed: vectors that follow from the texts, and failures on demand."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

DIMENSIONS = 8
MODEL = "fake-model"


def vector_of(text: str) -> NDArray[np.float32]:
    """(8,) of length 1."""
    numbers = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype="<u4").astype(np.float64) + 1
    return (numbers / np.linalg.norm(numbers)).astype(np.float32)


def sparse_of(text: str) -> dict[str, list[Any]]:
    """A weight for each letter: how often it occurs."""
    letters = sorted(set(text) - {" "})
    return {"indices": [ord(each) for each in letters], "values": [float(text.count(each)) for each in letters]}


def encoded(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.tobytes()).decode()


def error(status: int, message: str, param: str | None = None, **headers: str) -> Response:
    """An error in the words of the service."""
    return JSONResponse({"error": {"message": message, "param": param}}, status, headers)


@dataclass
class FakeService:
    """What was asked; `answers` maps the number of a request, from 0, to what happens instead of an answer."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    answers: dict[int, Callable[[], Response | None]] = field(default_factory=dict)
    refuse: Callable[[list[str]], Response | None] = lambda texts: None
    model: str = MODEL
    warnings: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""
    compute_s: float = 0.0

    @property
    def texts(self) -> list[str]:
        """Every text of every request."""
        return [text for body in self.bodies for text in body["input"]]

    def app(self) -> Starlette:
        """The routes that the script calls."""
        routes = [
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/metrics", self.metrics),
        ]
        return Starlette(routes=routes)

    async def embeddings(self, request: Request) -> Response:
        body = await request.json()
        with self.lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.keys.append(request.headers.get("authorization"))
        instead = self.answers[number]() if number in self.answers else None
        return instead or self.refuse(body["input"]) or self.answer(body)

    def answer(self, body: dict[str, Any]) -> Response:
        data = [self.item(body, text) | {"index": index} for index, text in enumerate(body["input"])]
        usage = {"prompt_tokens": sum(len(text.split()) for text in body["input"])}
        answer = {"data": data, "model": body.get("model", self.model), "usage": usage}
        return JSONResponse(answer | ({"warnings": self.warnings} if self.warnings else {}))

    def item(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        """The requested outputs of one text."""
        item: dict[str, Any] = {"object": "embedding"}
        if body.get("return_dense", True):
            item["embedding"] = encoded(vector_of(text)[: body.get("dimensions", DIMENSIONS)])
        if body.get("return_sparse"):
            item["sparse_embedding"] = sparse_of(text)
        if body.get("return_colbert_vecs"):
            item["colbert_vecs"] = [encoded(vector_of(word)) for word in text.split()]
        return item

    async def metrics(self, request: Request) -> Response:
        self.compute_s += 0.5
        return PlainTextResponse(f'# HELP\nservice_compute_seconds_total{{model="{MODEL}"}} {self.compute_s}\n')


@dataclass
class Port:
    """An ASGI app that shows one fake after the other; a request stays with the one that it came to."""

    fake: FakeService = field(default_factory=FakeService)
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.fake.app()(scope, receive, send)
