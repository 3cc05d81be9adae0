"""Every route but BentoML's own: what GET routes say of the service and its models, and who answers POST routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from starlette.responses import PlainTextResponse, Response

from api.admin import admin_routes
from api.endpoints import Endpoints
from api.playground import playground_routes
from api.posts import BENTOML_POSTS, POSTS, Post
from api.responses import json_response
from api.routing import Handler, Request, Route
from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.store import ModelStore, StoredModel
from runners.devices import Device
from runners.pool.model_pool import ModelPool
from settings import Settings

VERSION = "1"


class Directory:
    """What the service can say about itself and its models."""

    def __init__(
        self,
        pool: ModelPool,
        store: ModelStore,
        device: Device,
        settings: Settings,
        *,
        planned_dtype: Callable[[StoredModel], str],
        ready: Callable[[], bool],
    ) -> None:
        """`planned_dtype` says in which data type a stored model would be computed."""
        self.pool = pool
        self._planned_dtype = planned_dtype
        self._ready = ready
        self._store = store
        self._device = device
        self._settings = settings

    async def health(self, _: Request) -> Response:
        """GET /health: alive, on which device, and which models are in memory."""
        return json_response(
            {
                "status": "healthy",
                "platform": self._device.platform,
                "device": self._device.torch_name,
                "models_loaded": sorted(model.name for model in self.pool.loaded()),
            }
        )

    async def alive(self, _: Request) -> Response:
        """GET /livez and /healthz: 503 once only a new process helps."""
        return _probe(self.pool.watchdog.alive, "The service is stuck and has to be restarted.")

    async def ready(self, _: Request) -> Response:
        """GET /readyz: 200 once the models of PRELOAD_MODELS are loaded."""
        return _probe(self._ready(), "The service is not ready: it is starting, or shutting down.")

    async def models(self, _: Request) -> Response:
        """GET /models: every model with its facts and its state."""
        return json_response(await asyncio.to_thread(self._listing))

    async def info(self, _: Request) -> Response:
        """GET /info: the default model in text-embeddings-inference's words: the reranker where only that is served."""
        return json_response(await asyncio.to_thread(self._info))

    async def openai_models(self, _: Request) -> Response:
        """GET /v1/models, as OpenAI answers it."""
        data = [openai_model(spec) for spec in self.pool.catalog]
        return json_response({"object": "list", "data": data})

    async def openai_model(self, request: Request) -> Response:
        """GET /v1/models/{id}; the id may hold a slash."""
        return json_response(openai_model(self.pool.catalog.get(request.params["name"])))

    def _info(self) -> dict[str, Any]:
        settings = self._settings
        reranks = settings.serve_tasks == ("rerank",)
        spec = self.pool.catalog.get(settings.reranker_model_name if reranks else settings.embedding_model_name)
        stored = self._store.find(spec)
        facts = stored.facts if stored else None
        kind: dict[str, Any] = {"embedding": {"pooling": facts.pooling if facts else spec.pooling}}
        if spec.kind == "reranker":
            kind = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
        return {
            "model_id": spec.repo,
            "model_sha": facts.revision if facts else spec.revision,
            "model_dtype": self._dtype(spec, stored),
            "model_type": kind,
            "max_input_length": facts.max_tokens if facts else spec.max_tokens,
            "max_batch_tokens": settings.max_batch_tokens,
            "max_client_batch_size": settings.max_inputs,
            "auto_truncate": True,
            "version": VERSION,
        }

    def _dtype(self, spec: ModelSpec, stored: StoredModel | None) -> str | None:
        """What a model is computed in, or will be once it is loaded; None before it is imported."""
        for model in self.pool.loaded():
            if model.name == spec.name:
                return model.dtype
        return None if stored is None else self._planned_dtype(stored)

    def _listing(self) -> dict[str, Any]:
        return {
            "default_embedding_model": self._settings.embedding_model_name,
            "default_reranker_model": self._settings.reranker_model_name,
            "tasks": self._settings.serve_tasks,
            "limits": {
                "max_inputs": self._settings.max_inputs,
                "max_documents": self._settings.max_documents,
                "max_body_bytes": self._settings.max_body_bytes,
            },
            "playground": self._settings.playground,
            "admin": self._settings.admin,
            "models": list(self._facts()),
        }

    def _facts(self) -> Iterator[dict[str, Any]]:
        loaded = {model.name: model for model in self.pool.loaded()}
        for spec in self.pool.catalog:
            status = self.pool.status(spec)
            stored = self._store.find(spec)
            facts = stored.facts if stored else None
            model = loaded.get(spec.name)
            yield {
                "id": spec.name,
                "full_name": spec.repo,
                "aliases": spec.aliases,
                "kind": spec.kind,
                "group": spec.group,
                "languages": spec.languages,
                "tasks": ["embedding", "rerank (cosine)"] if spec.kind == "embedding" else ["rerank"],
                "state": status.state,
                "detail": status.detail or None,
                "import_progress": status.progress,
                "backend": model.backend if model else None,
                "dtype": model.dtype if model else None,
                "weights_dtype": model.weights_dtype if model else None,
                "memory_bytes": model.memory_bytes if model else None,
                "max_tokens": facts.max_tokens if facts else spec.max_tokens,
                "dimensions": facts.dimensions if facts else spec.dimensions,
                "matryoshka_dimensions": spec.matryoshka,
                "pooling": facts.pooling if facts else spec.pooling,
                "normalized_by_authors": spec.normalized,
                "prompts": spec.prompts,
                "instruction": spec.instruction,
                "license": spec.license,
                "commercial_use": spec.commercial,
                "parameters": facts.parameters if facts else spec.parameters,
                "download_bytes": spec.download_bytes,
                "stored_bytes": facts.weight_bytes if facts else None,
                "revision": facts.revision if facts else spec.revision,
                "requires": spec.requires,
                "verified": spec.verified,
                "note": spec.note,
            }


def openai_model(spec: ModelSpec) -> dict[str, Any]:
    """A model in OpenAI's words; `created` is unknown and therefore 0."""
    return {"id": spec.name, "object": "model", "created": 0, "owned_by": spec.repo.split("/")[0]}


def _probe(good: bool, problem: str) -> Response:
    if not good:
        raise ModelUnavailableError(problem)
    return PlainTextResponse("\n")


def build_routes(endpoints: Endpoints, directory: Directory, settings: Settings) -> list[Route]:
    """Our routes, answered by `endpoints` and `directory`."""

    def post(route: Post) -> Handler:
        async def handle(request: Request) -> Response:
            return await route.answer(endpoints, request.body, request.headers)

        return handle

    return [
        Route("GET", "/health", directory.health, open=True, quiet=True),
        Route("GET", "/livez", directory.alive, open=True, quiet=True),
        Route("GET", "/healthz", directory.alive, open=True, quiet=True),
        Route("GET", "/readyz", directory.ready, open=True, quiet=True),
        Route("GET", "/models", directory.models, quiet=True),
        Route("GET", "/info", directory.info),
        Route("GET", "/v1/models", directory.openai_models),
        Route("GET", "/v1/models/{name}", directory.openai_model),
        *admin_routes(directory.pool, settings),
        *(playground_routes() if settings.playground else []),
        *(Route("POST", each.path, post(each)) for each in (*BENTOML_POSTS, *POSTS)),
    ]
