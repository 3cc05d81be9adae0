"""The GET routes and the POST routes that BentoML does not know of, as one small Starlette app mounted in the Bento."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.admin import admin_routes
from api.calls import answer
from api.endpoints import Endpoints
from api.errors import CatchAllMiddleware, answer_exception
from api.playground import playground_routes
from api.posts import POSTS, Post
from api.responses import json_response
from models.catalog import ModelSpec
from models.store import ModelStore
from runners.devices import Device
from runners.model_pool import ModelPool
from settings import Settings

VERSION = "1"


class Directory:
    """What the service can say about itself and its models."""

    def __init__(self, pool: ModelPool, store: ModelStore, device: Device, settings: Settings) -> None:
        self.pool = pool
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

    async def models(self, _: Request) -> Response:
        """GET /models: every model with its facts and its state."""
        return json_response(await asyncio.to_thread(self._listing))

    async def info(self, _: Request) -> Response:
        """GET /info: the default embedding model in text-embeddings-inference's words."""
        return json_response(await asyncio.to_thread(self._info))

    async def openai_models(self, _: Request) -> Response:
        """GET /v1/models, as OpenAI answers it."""
        data = [openai_model(spec) for spec in self.pool.catalog]
        return json_response({"object": "list", "data": data})

    async def openai_model(self, request: Request) -> Response:
        """GET /v1/models/{id}; the id may hold a slash."""
        return json_response(openai_model(self.pool.catalog.get(request.path_params["name"])))

    def _info(self) -> dict[str, Any]:
        settings = self._settings
        spec = self.pool.catalog.get(settings.embedding_model_name)
        stored = self._store.find(spec)
        facts = stored.facts if stored else None
        return {
            "model_id": spec.repo,
            "model_sha": facts.revision if facts else spec.revision,
            "model_dtype": settings.dtype,
            "model_type": {"embedding": {"pooling": facts.pooling if facts else spec.pooling}},
            "max_input_length": facts.max_tokens if facts else spec.max_tokens,
            "max_batch_tokens": settings.max_batch_tokens,
            "max_client_batch_size": settings.max_inputs,
            "auto_truncate": True,
            "version": VERSION,
        }

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


def build_routes(settings: Settings) -> Starlette:
    """The app to mount; the service sets `app.state.directory` and `app.state.endpoints` before the first request."""

    def get(name: str) -> Any:
        async def endpoint(request: Request) -> Response:
            response: Response = await getattr(request.app.state.directory, name)(request)
            return response

        return endpoint

    def post(route: Post) -> Any:
        async def endpoint(request: Request) -> Response:
            endpoints: Endpoints = request.app.state.endpoints
            return await answer(request, lambda body: route.answer(endpoints, body, request.headers), settings)

        return endpoint

    return Starlette(
        routes=[
            Route("/health", get("health"), methods=["GET"]),
            Route("/models", get("models"), methods=["GET"]),
            Route("/info", get("info"), methods=["GET"]),
            Route("/v1/models", get("openai_models"), methods=["GET"]),
            Route("/v1/models/{name:path}", get("openai_model"), methods=["GET"]),
            *admin_routes(settings),
            *(playground_routes() if settings.playground else []),
            *(Route(route.path, post(route), methods=["POST"]) for route in POSTS),
        ],
        middleware=[Middleware(CatchAllMiddleware)],
        exception_handlers={HTTPException: answer_exception},
    )
