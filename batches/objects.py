"""The objects of OpenAI's batch API, and how they are stored."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

T = TypeVar("T")

Purpose = Literal["batch", "batch_output"]
BatchEndpoint = Literal["/v1/embeddings", "/v1/rerank"]
Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
ENDED = frozenset({"failed", "completed", "expired", "cancelled"})
"""The statuses that a batch keeps."""
_ID = re.compile(r"(file-|batch_)[0-9a-f]{32}")

_Time = Annotated[int, Field(description="Unix time in seconds.")]
_OptionalTime = Annotated[int | None, Field(description="Unix time in seconds; null if it has not happened.")]
_FileId = Annotated[str | None, Field(description="Id of the file; null if there is none.")]


class FileObject(TypedDict):
    """A file."""

    id: Annotated[str, Field(description="Id of the file.")]
    object: Annotated[Literal["file"], Field(description="Always file.")]
    bytes: Annotated[int, Field(description="Size of the content.")]
    created_at: _Time
    expires_at: Annotated[int, Field(description="Unix time in seconds at which the file is deleted.")]
    filename: Annotated[str, Field(description="Name of the uploaded file.")]
    purpose: Annotated[Purpose, Field(description="batch for input, batch_output for output and errors.")]
    status: Annotated[Literal["processed"], Field(description="Always processed.")]


class BatchError(TypedDict):
    """A problem of the input file."""

    code: Annotated[str, Field(description="The kind of problem, for programs.")]
    line: Annotated[int | None, Field(description="Line of the input file, starting at 1.")]
    message: Annotated[str, Field(description="What was wrong, the limit, and what to do.")]
    param: Annotated[str | None, Field(description="The field of the line that was wrong.")]


class BatchErrors(TypedDict):
    """The problems of the input file: the first ones, if there are many."""

    object: Annotated[Literal["list"], Field(description="Always list.")]
    data: Annotated[list[BatchError], Field(description="The problems.")]


class RequestCounts(TypedDict):
    """Numbers of requests."""

    total: Annotated[int, Field(description="Requests in the input file; 0 until it is validated.")]
    completed: Annotated[int, Field(description="Requests in the output file.")]
    failed: Annotated[int, Field(description="Requests in the error file.")]


class Batch(TypedDict):
    """A batch."""

    id: Annotated[str, Field(description="Id of the batch.")]
    object: Annotated[Literal["batch"], Field(description="Always batch.")]
    endpoint: Annotated[BatchEndpoint, Field(description="The route of all requests.")]
    errors: Annotated[BatchErrors | None, Field(description="Why the batch failed; null unless it did.")]
    input_file_id: Annotated[str, Field(description="Id of the input file.")]
    completion_window: Annotated[Literal["24h"], Field(description="Always 24h.")]
    status: Annotated[Status, Field(description="The current status.")]
    output_file_id: _FileId
    error_file_id: _FileId
    created_at: _Time
    in_progress_at: _OptionalTime
    expires_at: Annotated[int, Field(description="Unix time in seconds at which the batch expires.")]
    finalizing_at: _OptionalTime
    completed_at: _OptionalTime
    failed_at: _OptionalTime
    expired_at: _OptionalTime
    cancelling_at: _OptionalTime
    cancelled_at: _OptionalTime
    request_counts: RequestCounts
    metadata: Annotated[dict[str, str] | None, Field(description="As sent when the batch was created.")]


FILE = TypeAdapter(FileObject)
BATCH = TypeAdapter(Batch)


def new_id(prefix: Literal["file-", "batch_"], now: float) -> str:
    """A new id. Ids sort by the time of their creation, in milliseconds."""
    return f"{prefix}{int(now * 1000):012x}{secrets.token_hex(10)}"


def is_id(text: str, prefix: Literal["file-", "batch_"]) -> bool:
    """Whether a client's text has the form of an id; only such a text may become a part of a path."""
    return text.startswith(prefix) and _ID.fullmatch(text) is not None


def write_json(path: Path, content: Any) -> None:
    """Write an object in one step, also if the power fails: readers find the old one or the new one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with draft.open("xb") as file:
            file.write(orjson.dumps(content))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_json(path: Path, kind: TypeAdapter[T]) -> T | None:
    """A stored object; None if it does not exist or is damaged."""
    try:
        return kind.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
