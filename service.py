"""The Bento: two APIs, resource hints, start and stop. Wiring, no logic.

BentoML's supervisor imports this module too, so nothing here imports torch before a worker starts.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import bentoml
from starlette.responses import Response

import metrics
import startup
from api.app import App
from api.batch_lines import computing
from api.batches import endpoints
from api.bento import Bento, JSONAnswer
from api.context import Context
from api.dialects import openai
from api.dialects.openai import EmbeddingRequest, RerankRequest
from api.json_body import read_json
from api.playground import playground_url
from api.shutdown import end_process, follow_signal
from api.work import Work
from batches.lines import Limits
from batches.running import Tools
from batches.service import BatchService
from engine_process import (
    HOUSEKEEPING_S,
    SWITCH_S,
    build_pool,
    check_models,
    import_packaged,
    preload,
    settle_memory,
)
from errors import ShuttingDownError
from models.store import ModelStore, open_catalog
from runners.devices import Device, count, detect, require, resource_hint
from runners.loaded_model import Pool
from runners.pool.model_pool import ModelPool
from runners.remote.pool import RemotePool
from settings import Settings, load_settings

logger = logging.getLogger("service")

with startup.without_traceback():
    settings = load_settings()
    catalog = open_catalog(settings, ModelStore())
    for default in (settings.embedding_model_name, settings.reranker_model_name, *settings.preload_models):
        catalog.get(default)  # fail at start-up, not at the first request
    require(settings)
    startup.check(settings)
    host, port = startup.bound_address(settings)
    open_to_all = not settings.keys and ipaddress.ip_address(host).is_unspecified


def open_batches(work: Work, settings: Settings) -> BatchService | None:
    """The batch API over BATCH_DIR; None if it is not set."""
    if settings.batch_dir is None:
        return None
    tools = Tools(
        compute=computing(work),
        parse=lambda line: read_json(line, settings),
        limits=Limits(settings.batch_max_lines, settings.max_body_bytes),
        clock=time.time,
    )
    return BatchService.open(
        settings.batch_dir, tools, max_age_s=settings.batch_max_age_s, endpoints=endpoints(settings)
    )


def options(settings: Settings) -> dict[str, Any]:
    """BentoML's options for the service."""
    return {
        "workers": settings.workers,
        "resources": resource_hint(settings),
        "http": {"host": settings.host, "port": settings.port},
        "traffic": {"timeout": settings.request_timeout_s},
        "logging": {"access": {"enabled": False}},  # replaced by api/access_log.py
        "tracing": {"excluded_urls": ".*"},  # replaced by api/tracing.py
    }


@bentoml.service(name="rerank_embedding", service_class=Bento, **options(settings))
class RerankEmbedding:
    """OpenAI-compatible embeddings and Cohere/Jina-style reranking over Hugging Face models."""

    def __init__(self) -> None:
        from runners.loading import computing_dtype, remote_model

        logger.setLevel(logging.INFO)  # BentoML's default is WARNING
        sys.setswitchinterval(SWITCH_S)
        self._ready = False
        store = ModelStore()
        self.local: ModelPool | None = None
        """The models, if they are in this process."""
        if settings.workers > 1 or count(settings) > 1:
            remote = RemotePool(catalog, partial(remote_model, settings=settings))
            self.pool: Pool = remote
            self.get_device: Callable[[], Device] = remote.device
        else:
            device = detect(settings)
            self.pool = self.local = build_pool(settings, catalog, store, device)
            self.get_device = lambda: device
        self.store = store
        self.work = Work(self.pool, settings)
        self.batches = open_batches(self.work, settings)
        self.context = partial(
            Context,
            work=self.work,
            store=store,
            get_device=self.get_device,
            batches=self.batches,
            planned_dtype=lambda stored: computing_dtype(stored, self.get_device(), settings),
            is_ready=lambda: self._ready and self.pool.ready,
        )
        self._tasks: list[asyncio.Task[None]] = []

    @bentoml.on_startup
    async def start(self) -> None:
        """Start the background tasks, such as loading PRELOAD_MODELS; health checks do not wait for them."""
        if threading.current_thread() is threading.main_thread():
            follow_signal(signal.SIGTERM, asyncio.get_running_loop(), self._on_sigterm)
        if open_to_all:
            logger.warning("listening on all interfaces without API keys; set API_KEYS, or HOST=127.0.0.1")
        if settings.admin and not settings.keys:
            logger.warning("ADMIN is on without API keys: anyone who can reach the service may load and unload models")
        if settings.playground and bentoml.server_context.worker_index in (None, 1):
            logger.info("playground: %s", playground_url(host, port))
        await self.pool.open()
        background: list[Coroutine[Any, Any, None]] = [self._run_housekeeping()]
        if self.local is not None:
            background += [self._preload(self.local), import_packaged(self.local, self.store, settings)]
        else:
            settle_memory()
            self._ready = True
        if self.batches is not None:
            background.append(self.batches.runner.run())
        self._tasks = [asyncio.create_task(work) for work in background]

    def _on_sigterm(self) -> None:
        """End running requests after the grace period. uvicorn sets no limit, and BentoML's supervisor waits a day."""
        error = ShuttingDownError(
            f"The service is shutting down; the request did not finish within {settings.shutdown_grace_s:g} s "
            "(SHUTDOWN_GRACE_S). Try again."
        )
        for task in self._tasks:
            task.cancel()  # stops preloading, which would set _ready
        self._ready = False
        asyncio.get_running_loop().call_later(settings.shutdown_grace_s, self.pool.abort, error)
        RerankEmbedding.app.shut_down(settings.shutdown_grace_s, error)  # type: ignore[attr-defined]  # a bentoml.Service
        end_process(settings.shutdown_grace_s)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Unload everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pool.close()

    @bentoml.api(route="/v1/embeddings", output_spec=JSONAnswer)
    async def embeddings(self, request: EmbeddingRequest, /) -> Response:
        """A vector of length 1 for each text."""
        return await openai.embed(self.work, request)

    @bentoml.api(route="/v1/rerank", output_spec=JSONAnswer)
    async def rerank(self, request: RerankRequest, /) -> Response:
        """Documents by relevance, best first."""
        return await openai.rerank(self.work, request, client=None)

    async def _preload(self, pool: ModelPool) -> None:
        await preload(pool, settings.preload_models)
        self._ready = True

    async def _run_housekeeping(self) -> None:
        """Fail stalled passes, unload idle models, forget dead workers and return unused memory, every few seconds."""
        app: App = RerankEmbedding.app  # type: ignore[attr-defined]  # a bentoml.Service
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await asyncio.to_thread(metrics.forget_dead_workers)
                if self.local is not None:
                    await check_models(self.local, settings)
                await asyncio.to_thread(app.bodies.return_memory)
            except Exception:  # the next round retries
                logger.exception("housekeeping failed")
