"""The Bento: two APIs, resource hints, start and stop. Wiring, no logic.

BentoML's supervisor imports this module too, so nothing here imports torch before a worker starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import signal
import sys
import threading
from functools import partial
from typing import Any

import bentoml
from starlette.responses import Response

import metrics
import startup
from api.app import App
from api.bento import Bento, JSONAnswer
from api.context import Context
from api.dialects import openai
from api.dialects.openai import EmbeddingRequest, RerankRequest
from api.playground import playground_url
from api.shutdown import end_process, follow_signal
from api.work import Work
from errors import ServiceError, ShuttingDownError
from importing.child import import_in_child
from models.catalog import load_catalog
from models.store import ModelStore
from runners.devices import require, resource_hint
from runners.pool.model_pool import RETRY_FAILED_AFTER_S, ModelPool
from settings import Settings, load_settings

logger = logging.getLogger("service")

_HOUSEKEEPING_S = 5.0
_SWITCH_S = 0.0005
"""Python's thread switch interval. The default of 5 ms is longer than most GPU passes, and a pass needs the GIL several
times: 8 to 20 % more requests on an H100."""

with startup.without_traceback():
    settings = load_settings()
    catalog = load_catalog(settings.extra_catalog)
    for default in (settings.embedding_model_name, settings.reranker_model_name, *settings.preload_models):
        catalog.get(default)  # fail at start-up, not at the first request
    require(settings)
    open_to_all = not settings.keys and ipaddress.ip_address(settings.host).is_unspecified
    startup.check(settings)


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
        from runners.devices import detect
        from runners.loading import computing_dtype, load_model, needs_export
        from runners.pool.capacity import memory_budget, memory_needed, unavailable_reason

        logger.setLevel(logging.INFO)  # BentoML's default is WARNING
        sys.setswitchinterval(_SWITCH_S)
        self._ready = False
        store = ModelStore()
        device = detect(settings, worker_index=bentoml.server_context.worker_index)
        self.pool = ModelPool(
            catalog,
            store,
            load=partial(load_model, device=device, settings=settings),
            import_model=import_in_child if settings.import_on_demand else None,
            unavailable_reason=partial(unavailable_reason, device=device, settings=settings),
            needs_export=partial(needs_export, device=device, settings=settings),
            memory_needed=lambda stored: memory_needed(stored.facts.parameters, device.dtype),
            memory_budget=memory_budget(device, settings),
            max_imports=settings.max_imports,
        )
        self.store = store
        self.work = Work(self.pool, settings)
        self.context = partial(
            Context,
            work=self.work,
            store=store,
            device=device,
            planned_dtype=partial(computing_dtype, device=device, settings=settings),
            is_ready=lambda: self._ready,
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
            logger.info("playground: %s", playground_url(settings.host, settings.port))
        background = (self._preload(), self._import_packaged(), self._run_housekeeping())
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

    async def _preload(self) -> None:
        for name in settings.preload_models:
            while not await self._load(name):  # noqa: ASYNC110  # retries have no event to wait on
                await asyncio.sleep(RETRY_FAILED_AFTER_S)
        # All objects so far are long-lived. Without freeze, each full collection pauses requests for 100 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        self._ready = True

    async def _load(self, name: str) -> bool:
        """Load one model; False if that fails. The pool logs the error and /models shows it."""
        try:
            await self.pool.pin(catalog.get(name))
        except ServiceError:
            return False
        return True

    async def _import_packaged(self) -> None:
        """Import the models of installed packages, so that their first request does not wait for it."""
        for spec in catalog:
            if settings.import_on_demand and spec.package and await asyncio.to_thread(self.store.find, spec) is None:
                with contextlib.suppress(ServiceError):  # logged by the pool; the next request retries
                    await self.pool.import_model(spec)

    async def _run_housekeeping(self) -> None:
        """Fail stalled passes, unload idle models, forget dead workers and return unused memory, every few seconds."""
        app: App = RerankEmbedding.app  # type: ignore[attr-defined]  # a bentoml.Service
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                await asyncio.to_thread(metrics.forget_dead_workers)
                self.pool.abort_stalled(settings.request_timeout_s)
                if settings.idle_unload_s:
                    await self.pool.unload_idle(settings.idle_unload_s)
                await asyncio.to_thread(app.bodies.return_memory)
            except Exception:  # the next round retries
                logger.exception("housekeeping failed")
