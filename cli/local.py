"""The service's routes for embeddings and rankings in this process, for the same HTTP client as a running service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator

import httpx
import orjson

from api.batch_lines import computing
from api.work import Work
from batches.objects import BatchEndpoint
from cli.output import console
from corpus.problems import CorpusError
from engine_process import build_pool
from errors import ServiceError
from models.catalog import ModelSpec
from models.store import ModelStore, open_catalog
from runners.devices import detect
from runners.pool.model_pool import ModelPool
from settings import Settings

_ENDPOINTS: dict[str, BatchEndpoint] = {"/v1/embeddings": "/v1/embeddings", "/v1/rerank": "/v1/rerank"}
_LOGGER = logging.getLogger("service.models")
_POLL_S = 0.5


class LocalTransport(httpx.AsyncBaseTransport):
    """Answers requests as the service would: the same validation, models, prompts and limits.

    It raises CorpusError for problems of this machine, such as a failed import: waiting does not help.
    """

    def __init__(self, settings: Settings) -> None:
        store = ModelStore()
        self._level = _LOGGER.level
        _LOGGER.setLevel(logging.ERROR)  # the response says what it would log
        self._settings = settings
        self._pool = build_pool(settings, open_catalog(settings, store), store, detect(settings))
        self._work = Work(self._pool, settings)
        self._compute = computing(self._work)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response of one of the two routes; 404 for others."""
        endpoint = _ENDPOINTS.get(request.url.path)
        if endpoint is None:
            return httpx.Response(404)
        body = orjson.loads(await request.aread())
        async with _showing_imports(self._pool, await self._model(endpoint, body.get("model"))):
            computed = await self._compute(endpoint, orjson.dumps({"custom_id": "", "body": body}))
        response = httpx.Response(computed.status, content=computed.body)
        if response.status_code >= 500:
            raise CorpusError(response.json()["error"]["message"])
        return response

    async def aclose(self) -> None:
        """Unload the models."""
        try:
            await self._pool.close()
        finally:
            _LOGGER.setLevel(self._level)

    async def _model(self, endpoint: BatchEndpoint, name: str | None) -> ModelSpec | None:
        """The model of a request; None if there is no such model, which the response says."""
        settings = self._settings
        default = settings.embedding_model_name if endpoint == "/v1/embeddings" else settings.reranker_model_name
        try:
            return (await self._work.by_name.resolve(name or default))[0]
        except ServiceError:
            return None


@contextlib.asynccontextmanager
async def _showing_imports(pool: ModelPool, spec: ModelSpec | None) -> AsyncIterator[None]:
    """Show that a model is imported, which takes minutes, while a request waits for it."""
    watching = asyncio.create_task(_watch(pool, spec)) if spec is not None else None
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


async def _watch(pool: ModelPool, spec: ModelSpec) -> None:
    said = False
    with console(stderr=True).status(f"Loading {spec.name}") as shown:
        while True:
            await asyncio.sleep(_POLL_S)
            status = pool.status(spec)
            if status.state != "importing":
                shown.update(f"Loading {spec.name}" if status.state == "loading" else f"Computing with {spec.name}")
            elif sys.stderr.isatty():
                shown.update(f"Importing {spec.name} ({status.progress or 0:.0%})")
            elif not said:
                said = True
                sys.stderr.write(f"{spec.name}: importing\n")
