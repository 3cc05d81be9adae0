"""OpenAI's /v1/batches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

import metrics
from api.context import Context
from api.field_types import RequestBody
from api.files import Page, disk_errors, page, refuse_other_sites, service_of
from api.queries import Query
from api.responses import Answer, answer
from api.routing import Request
from api.unsupported_fields import Unsupported
from batches.objects import Batch, BatchEndpoint
from errors import InvalidRequestError, ObjectNotFoundError
from settings import Settings, Task

MAX_BATCHES, _DEFAULT_BATCHES = 100, 20
"""Batches in one response, as at OpenAI."""
TASKS: Mapping[BatchEndpoint, Task] = {"/v1/embeddings": "embeddings", "/v1/rerank": "rerank"}
"""Endpoint of a batch -> its task in SERVE_TASKS."""

_Key = Annotated[str, StringConstraints(strict=True, max_length=64)]
_Value = Annotated[str, StringConstraints(strict=True, max_length=512)]


class BatchRequest(RequestBody):
    """POST /v1/batches, as OpenAI defines it."""

    unsupported: ClassVar = {
        "output_expires_after": Unsupported("Omit it: output files are deleted after BATCH_MAX_AGE_S.")
    }

    input_file_id: Annotated[str, StringConstraints(strict=True)] = Field(description="Id of an uploaded file.")
    endpoint: BatchEndpoint = Field(description="The route of all requests in the file.")
    completion_window: Literal["24h"] = Field(description="Always 24h: requests without a response then expire.")
    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] | None = Field(
        None, description="Up to 16 texts of up to 512 characters, with keys of up to 64 characters."
    )


class BatchList(Page):
    """A page of batches."""

    data: Annotated[list[Batch], Field(description="Newest first.")]


def endpoints(settings: Settings) -> list[BatchEndpoint]:
    """The endpoints of batches that a process with these settings runs."""
    return [endpoint for endpoint, task in TASKS.items() if task in settings.serve_tasks]


async def create(context: Context, request: BatchRequest, _: Mapping[str, str]) -> Answer[Batch]:
    """POST /v1/batches."""
    service = service_of(context)
    refuse_other_sites()
    warnings = request.warnings()
    if request.endpoint not in endpoints(context.settings):
        raise InvalidRequestError(
            "This process does not serve the endpoint (SERVE_TASKS). Send the request to a process that does.",
            param="endpoint",
        )

    def make() -> Batch:
        given = service.files.get(request.input_file_id)
        if given["purpose"] != "batch":
            raise InvalidRequestError("The input file must have the purpose batch.", param="input_file_id")
        return service.batches.create(
            request.endpoint,
            input_file_id=given["id"],
            window=request.completion_window,
            content=service.files.content(given["id"]),
            metadata=request.metadata,
        )

    with disk_errors():
        try:
            batch = await asyncio.to_thread(make)
        except ObjectNotFoundError as error:
            raise InvalidRequestError(error.message, param="input_file_id") from None
    metrics.BATCHES.labels("validating").inc()
    service.runner.wake()
    return answer(batch, warnings)


async def list_batches(context: Context, request: Request) -> Answer[BatchList]:
    """GET /v1/batches."""
    service, query = service_of(context), Query(request)
    limit = query.number("limit", MAX_BATCHES, default=_DEFAULT_BATCHES)
    data, has_more = await asyncio.to_thread(service.batches.page, limit=limit, after=query.text("after"))
    return answer({"data": data, **page(data, has_more=has_more)})


async def get(context: Context, request: Request) -> Answer[Batch]:
    """GET /v1/batches/{id}."""
    return answer(await asyncio.to_thread(service_of(context).batches.get, request.params["id"]))


async def cancel(context: Context, request: Request) -> Answer[Batch]:
    """POST /v1/batches/{id}/cancel."""
    service = service_of(context)
    refuse_other_sites()
    return answer(await asyncio.to_thread(service.batches.cancel, request.params["id"]))
