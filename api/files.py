"""OpenAI's /v1/files: the input and output of batches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import Field
from starlette.responses import FileResponse
from typing_extensions import TypedDict

from api.context import Context
from api.cross_site import may_import
from api.multipart import Upload, read_upload
from api.queries import Query
from api.responses import Answer, answer
from api.routing import Request
from batches.objects import Batch, FileObject
from batches.service import BatchService
from errors import CrossSiteError, InvalidRequestError, RouteNotFoundError, StorageFullError
from models.files import DISK_FULL

MAX_FILES = 10_000
"""Files in one response, as at OpenAI."""
_EXPIRY_S = range(3_600, 2_592_001)
"""Values of expires_after, as at OpenAI."""

UPLOAD_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["purpose", "file"],
    "properties": {
        "purpose": {"type": "string", "enum": ["batch"], "description": "Always batch."},
        "file": {
            "type": "string",
            "format": "binary",
            "description": "JSON Lines: on each line an object with custom_id, method, url and body.",
        },
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"], "description": "Always created_at."},
        "expires_after[seconds]": {
            "type": "integer",
            "minimum": _EXPIRY_S[0],
            "maximum": _EXPIRY_S[-1],
            "description": "Time after which the file is deleted. Default and maximum: BATCH_MAX_AGE_S.",
        },
    },
}


class Page(TypedDict):
    """A part of a list."""

    object: Annotated[Literal["list"], Field(description="Always list.")]
    first_id: Annotated[str | None, Field(description="Id of the first entry.")]
    last_id: Annotated[str | None, Field(description="Id of the last entry; send it as after to get the next page.")]
    has_more: Annotated[bool, Field(description="Whether there is another page.")]


class FileList(Page):
    """A page of files."""

    data: Annotated[list[FileObject], Field(description="Newest first, unless order is asc.")]


class FileDeleted(TypedDict):
    """A file was deleted."""

    id: Annotated[str, Field(description="Id of the file.")]
    object: Annotated[Literal["file"], Field(description="Always file.")]
    deleted: Annotated[Literal[True], Field(description="Always true.")]


def service_of(context: Context) -> BatchService:
    """The batch API of this process; RouteNotFoundError if it is off."""
    if context.batches is None:
        raise RouteNotFoundError("The batch API is off. Start the service with BATCH_DIR to enable it.")
    return context.batches


def refuse_other_sites() -> None:
    """CrossSiteError for a browser's page of another site, unless CORS_ORIGINS lists it."""
    if not may_import():
        raise CrossSiteError("Pages of other sites may not use the batch API. Add their origin to CORS_ORIGINS.")


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """StorageFullError instead of the system's error."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise StorageFullError(
            "The disk of the batch API is full (BATCH_DIR). Delete files, or ask the operator of the service for space."
        ) from None


def page(data: Sequence[FileObject] | Sequence[Batch], *, has_more: bool) -> Page:
    """The fields of a page beside its entries."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "first_id": first, "last_id": last, "has_more": has_more}


async def create(context: Context, request: Request) -> Answer[FileObject]:
    """POST /v1/files."""
    service = service_of(context)
    refuse_other_sites()
    assert request.parts is not None
    with disk_errors(), service.files.draft() as target:
        upload = await read_upload(request.parts, request.headers, target, context.settings.batch_max_file_bytes)
        expires_after_s = _check_fields(upload)
        made = await asyncio.to_thread(_publish, service, target, upload, expires_after_s)
    return answer(made)


def _publish(service: BatchService, target: IO[bytes], upload: Upload, expires_after_s: int | None) -> FileObject:
    target.flush()
    files = service.files
    return files.publish(Path(target.name), upload.filename or "", files.new_id(), "batch", expires_after_s)


def _check_fields(upload: Upload) -> int | None:
    """The value of expires_after, if there is one; InvalidRequestError if a field is wrong."""
    if upload.fields.get("purpose") != "batch":
        raise InvalidRequestError("purpose must be batch.", param="purpose")
    seconds = upload.fields.get("expires_after[seconds]")
    if seconds is None:
        return None
    if upload.fields.get("expires_after[anchor]", "created_at") != "created_at":
        raise InvalidRequestError("expires_after.anchor must be created_at.", param="expires_after.anchor")
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 10 and int(seconds) in _EXPIRY_S):
        raise InvalidRequestError(
            f"expires_after.seconds must be a number from {_EXPIRY_S[0]} to {_EXPIRY_S[-1]}.",
            param="expires_after.seconds",
        )
    return int(seconds)


async def list_files(context: Context, request: Request) -> Answer[FileList]:
    """GET /v1/files."""
    service = service_of(context)
    query = Query(request)
    order = query.one_of("order", ("desc", "asc"))
    data, has_more = await asyncio.to_thread(
        service.files.page,
        limit=query.number("limit", MAX_FILES, default=MAX_FILES),
        after=query.text("after"),
        purpose=query.text("purpose"),
        ascending=order == "asc",
    )
    return answer({"data": data, **page(data, has_more=has_more)})


async def get(context: Context, request: Request) -> Answer[FileObject]:
    """GET /v1/files/{id}."""
    return answer(await asyncio.to_thread(service_of(context).files.get, request.params["id"]))


async def content(context: Context, request: Request) -> FileResponse:
    """GET /v1/files/{id}/content. The content is a client's, so browsers must not show it as a page."""
    files = service_of(context).files
    path = await asyncio.to_thread(files.content, request.params["id"])
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=path.name,
        headers={"X-Content-Type-Options": "nosniff"},
    )


async def delete(context: Context, request: Request) -> Answer[FileDeleted]:
    """DELETE /v1/files/{id}."""
    service = service_of(context)
    refuse_other_sites()
    await asyncio.to_thread(service.files.delete, request.params["id"])
    return answer({"id": request.params["id"], "object": "file", "deleted": True})
