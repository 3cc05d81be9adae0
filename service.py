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
"""How long a thread keeps the interpreter while others want it. Python's 5 ms are longer than most passes of a GPU,
whose thread asks for it several times a pass: 8 to 20 % more requests on an H100."""

with startup.in_one_sentence():
    settings = load_settings()
    catalog = load_catalog(settings.extra_catalog)
    for default in (settings.embedding_model_name, settings.reranker_model_name, *settings.preload_models):
        catalog.get(default)  # a wrong name stops the start, not the first request
    require(settings)
    open_to_all = not settings.keys and ipaddress.ip_address(settings.host).is_unspecified
    startup.check(settings)


def options(settings: Settings) -> dict[str, Any]:
    """What BentoML has to know before it starts a worker."""
    return {
        "workers": settings.workers,
        "resources": resource_hint(settings),
        "http": {"host": settings.host, "port": settings.port},
        "traffic": {"timeout": settings.request_timeout_s},
        "logging": {"access": {"enabled": False}},  # api/access_log.py writes a line for each request
        "tracing": {"excluded_urls": ".*"},  # BentoML's own; ours is in api/tracing.py
    }


@bentoml.service(name="rerank_embedding", service_class=Bento, **options(settings))
class RerankEmbedding:
    """OpenAI-compatible embeddings and Cohere/Jina-style reranking over Hugging Face models."""

    def __init__(self) -> None:
        from runners.devices import detect
        from runners.loading import computing_dtype, load_model, needs_export
        from runners.pool.capacity import memory_budget, memory_needed, unavailable_reason

        logger.setLevel(logging.INFO)  # BentoML shows warnings only
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
        """Load the models that were asked for, without keeping the health check waiting."""
        if threading.current_thread() is threading.main_thread():
            follow_signal(signal.SIGTERM, asyncio.get_running_loop(), self._on_sigterm)
        if open_to_all:
            logger.warning("listening on all interfaces without API keys; set API_KEYS, or HOST=127.0.0.1")
        if settings.admin and not settings.keys:
            logger.warning("ADMIN is on without API keys: anyone who can reach the service may load and unload models")
        if settings.playground and bentoml.server_context.worker_index in (None, 1):
            logger.info("playground: %s", playground_url(settings.host, settings.port))
        chores = (self._preload(), self._import_packaged(), self._keep_house())
        self._tasks = [asyncio.create_task(chore) for chore in chores]

    def _on_sigterm(self) -> None:
        """uvicorn lets running requests finish, however long, and BentoML's supervisor waits a day for it."""
        error = ShuttingDownError(
            f"The service is shutting down; the request did not finish within {settings.shutdown_grace_s:g} s "
            "(SHUTDOWN_GRACE_S). Try again."
        )
        for task in self._tasks:
            task.cancel()  # nothing is loaded ahead any more, nor becomes ready
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
            while not await self._loaded(name):  # noqa: ASYNC110  # nothing to wait on but time
                await asyncio.sleep(RETRY_FAILED_AFTER_S)
        # What lives now lives long: without this, collections scan every module and pause requests for 100 ms
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        self._ready = True

    async def _loaded(self, name: str) -> bool:
        """Load one model; a failure is in the log and in /models, and /readyz keeps answering 503."""
        try:
            await self.pool.pin(catalog.get(name))
        except ServiceError:
            return False
        return True

    async def _import_packaged(self) -> None:
        """Bring the models that installed packages carry into the store, so that a first request need not wait."""
        for spec in catalog:
            if settings.import_on_demand and spec.package and await asyncio.to_thread(self.store.find, spec) is None:
                with contextlib.suppress(ServiceError):  # the pool logs it; a request tries again
                    await self.pool.import_model(spec)

    async def _keep_house(self) -> None:
        """Notice passes that hang, workers that died, models that nobody uses and memory that nobody needs."""
        app: App = RerankEmbedding.app  # type: ignore[attr-defined]  # a bentoml.Service
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                await asyncio.to_thread(metrics.forget_dead_workers)
                self.pool.abort_stalled(settings.request_timeout_s)
                if settings.idle_unload_s:
                    await self.pool.unload_idle(settings.idle_unload_s)
                await asyncio.to_thread(app.bodies.return_memory)
            except Exception:  # the next round tries again
                logger.exception("housekeeping failed")
