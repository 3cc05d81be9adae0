"""Exceptions as responses, with one body for all clients but Ollama's.

OpenAI's clients read `error`, Cohere's `message`, Jina's and Voyage's `detail`. Ollama's read `error` as a string.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated

import orjson
from pydantic import Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import TypedDict

from api.access_log import record_error
from api.field_types import UNION_TAGS
from errors import (
    BodyTooLargeError,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    ModelUnavailableError,
    OverloadedError,
    RouteNotFoundError,
    ServiceError,
)

logger = logging.getLogger("service.errors")

_PLAIN: Mapping[int, tuple[type[ServiceError], str]] = {
    404: (RouteNotFoundError, "There is no such route. GET /docs.json lists the routes."),
    405: (MethodNotAllowedError, "This route exists, but not for this method."),
    413: (BodyTooLargeError, "The request body is too large."),
    429: (OverloadedError, "Too many requests at once. Try again later."),
    503: (ModelUnavailableError, "The service is not ready."),
}
"""Status of an exception of Starlette or BentoML -> our error."""

_Message = Annotated[str, Field(description="What was wrong, the limit, and what to do.")]


class ErrorDetails(TypedDict):
    """The error, as OpenAI's clients expect it."""

    message: _Message
    type: Annotated[str, Field(description="invalid_request_error, rate_limit_error or server_error.")]
    param: Annotated[str | None, Field(description="The field that was wrong.")]
    code: Annotated[str, Field(description="The kind of error, for programs.")]


class Error(TypedDict):
    """The body of errors, for clients of OpenAI, Cohere, Jina and Voyage."""

    error: ErrorDetails
    message: _Message
    detail: _Message


class OllamaError(TypedDict):
    """The body of errors, for clients of Ollama."""

    error: _Message


def error_type(path: str) -> type[Error] | type[OllamaError]:
    """The body of errors on a path: Ollama's routes start with /api/."""
    return OllamaError if path.startswith("/api/") else Error


def translate(error: Exception) -> ServiceError:
    """Any exception as a ServiceError. Unexpected exceptions are logged and become a 500."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ValidationError):
        return invalid_request(error)
    if isinstance(error, HTTPException):
        if error.status_code in _PLAIN:
            kind, message = _PLAIN[error.status_code]
            return kind(message)
        if error.status_code < 500:
            return InvalidRequestError("The request is invalid.")
    logger.error("unexpected %s", type(error).__name__, exc_info=_without_text(error))
    return InternalError("Internal error; see the service log.")


def _without_text(error: Exception) -> BaseException:
    """The same traceback without the message, which may quote user text."""
    return RuntimeError(type(error).__name__).with_traceback(error.__traceback__)


def invalid_request(error: ValidationError) -> InvalidRequestError:
    """The first problem of a request body: the field and the values that it accepts, without user text."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"] if part not in UNION_TAGS) or None
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return InvalidRequestError(f"{path}: {message}." if path else f"{message}.", param=path)


def error_body(error: ServiceError, path: str = "") -> bytes:
    """The body of an error on a path."""
    if error_type(path) is OllamaError:
        return orjson.dumps({"error": error.message})
    content: Error = {
        "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code},
        "message": error.message,
        "detail": error.message,
    }
    return orjson.dumps(content)


def error_response(error: Exception, headers: Mapping[str, str] | None = None, *, path: str = "") -> Response:
    """The response for an exception on a path."""
    known = translate(error)
    record_error(known.code)
    extra = dict(headers or {})
    if isinstance(error, HTTPException) and error.headers:
        extra |= error.headers  # Allow, with 405
    if known.retry_after_s is not None:
        extra["Retry-After"] = str(known.retry_after_s)
    return Response(error_body(known, path), status_code=known.status, media_type="application/json", headers=extra)
