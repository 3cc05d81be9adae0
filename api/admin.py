"""POST /models/{name}/load, /unload and /import: what a model is to do, where ADMIN allows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import Response

from api.access_log import record_model
from api.cross_site import same_site
from api.responses import json_response
from api.routing import Handler, Request, Route
from errors import CrossSiteError, ForbiddenError, InvalidRequestError
from models.catalog import ModelSpec
from runners.pool.model_pool import ModelPool
from settings import Settings

Act = Callable[[ModelPool, ModelSpec], Awaitable[None]]


async def load(pool: ModelPool, spec: ModelSpec) -> None:
    """Into memory, imported first if need be."""
    await pool.load(spec)


async def unload(pool: ModelPool, spec: ModelSpec) -> None:
    """Out of memory, once its requests are done."""
    await pool.unload(spec)


async def bring_in(pool: ModelPool, spec: ModelSpec) -> None:
    """Into the model store, and no further."""
    if spec.forwarded:
        raise InvalidRequestError(f"{spec.name} is forwarded to its provider: there is nothing to import.")
    await pool.import_model(spec)


ACTS: dict[str, tuple[Act, str]] = {
    "load": (load, "Load a model, imported first if need be."),
    "unload": (unload, "Unload a model once its requests are done."),
    "import": (bring_in, "Import a model into the store without loading it."),
}
"""Last part of the path -> what is done, and how the OpenAPI document calls it."""


def admin_routes(pool: ModelPool, settings: Settings) -> list[Route]:
    """The three routes. They are there without ADMIN, too, to say what is missing."""
    return [Route("POST", f"/models/{{name}}/{name}", _handler(act, pool, settings)) for name, (act, _) in ACTS.items()]


def _handler(act: Act, pool: ModelPool, settings: Settings) -> Handler:
    async def handle(request: Request) -> Response:
        _check(request.headers, settings)
        spec = pool.catalog.get(request.params["name"])
        record_model(spec.name)
        await act(pool, spec)
        return json_response(await asyncio.to_thread(_state, pool, spec))

    return handle


def _state(pool: ModelPool, spec: ModelSpec) -> dict[str, Any]:
    return {"id": spec.name, "state": pool.status(spec).state, "memory_bytes": pool.memory_bytes(spec)}


def _check(headers: Mapping[str, str], settings: Settings) -> None:
    if not settings.admin:
        raise ForbiddenError(
            "Loading, unloading and importing models by request is switched off. Start the service with ADMIN=true."
        )
    if not same_site(headers):
        raise CrossSiteError(
            "Only this service's own page, or a program, may ask for this; not a page of another site."
        )
