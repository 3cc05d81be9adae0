"""POST /models/{name}/load, /unload and /import: managing models by request, if ADMIN allows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.access_log import record_model
from api.context import Context
from api.cross_site import same_site
from api.endpoint import Endpoint
from api.responses import Answer, answer
from api.routing import Request
from api.status import MemoryBytes, ModelStateName
from errors import CrossSiteError, ForbiddenError, InvalidRequestError
from models.catalog import ModelSpec
from runners.loaded_model import Pool
from settings import Settings

Action = Callable[[Pool, ModelSpec], Awaitable[None]]


class ModelState(TypedDict):
    """The state of a model after the request."""

    id: Annotated[str, Field(description="Short name.")]
    state: ModelStateName
    memory_bytes: MemoryBytes


async def load(pool: Pool, spec: ModelSpec) -> None:
    """Load a model, imported first if necessary."""
    await pool.load(spec)


async def unload(pool: Pool, spec: ModelSpec) -> None:
    """Unload a model after its requests."""
    await pool.unload(spec)


async def import_model(pool: Pool, spec: ModelSpec) -> None:
    """Import a model into the store without loading it."""
    if spec.forwarded:
        raise InvalidRequestError(f"{spec.name} is forwarded to its provider and cannot be imported.")
    await pool.import_model(spec)


def endpoint(name: str, summary: str, action: Action) -> Endpoint:
    """The route of an action."""

    async def handle(context: Context, request: Request) -> Answer[ModelState]:
        _check(request.headers, context.settings)
        spec = context.catalog.get(request.params["name"])
        record_model(spec.name)
        await action(context.pool, spec)
        return answer(await _state(context.pool, spec))

    errors = (400, 401, 403, 404, 408, 409, 413, 500, 503, 504)
    return Endpoint("POST", f"/models/{{name}}/{name}", summary, handle, errors=errors, setting="admin")


async def _state(pool: Pool, spec: ModelSpec) -> ModelState:
    (status,) = await pool.statuses([spec])
    model = (await pool.in_memory()).get(spec.name)
    return {"id": spec.name, "state": status.state, "memory_bytes": model.memory_bytes if model else None}


def _check(headers: Mapping[str, str], settings: Settings) -> None:
    if not settings.admin:
        raise ForbiddenError("Managing models by request is disabled. Start the service with ADMIN=true to enable it.")
    if not same_site(headers):
        raise CrossSiteError("Pages of other sites may not manage models. Use this service's own page, or a program.")
