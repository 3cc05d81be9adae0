"""The one place where failures become answers: one body for every status, read by every client.

OpenAI's clients read `error`, Cohere's `message`, Jina's and Voyage's `detail`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.access_log import record_error
from api.fields import UNION_TAGS
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
"""Status that starlette or BentoML answers by itself -> our error."""


def translate(error: Exception) -> ServiceError:
    """Any exception to a member of the error family; what is not ours goes to the log and becomes a plain 500."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ValidationError):
        return invalid_request(error)
    if isinstance(error, HTTPException):
        if error.status_code in _PLAIN:
            kind, message = _PLAIN[error.status_code]
            return kind(message)
        if error.status_code < 500:
            return InvalidRequestError("The request is wrong.")
    logger.error("unexpected %s", type(error).__name__, exc_info=_without_text(error))
    return InternalError("Something failed on our side; the log of the service says what.")


def _without_text(error: Exception) -> BaseException:
    """The same traceback under the type's name alone: an exception's own words may quote what a user sent."""
    return RuntimeError(type(error).__name__).with_traceback(error.__traceback__)


def invalid_request(error: ValidationError) -> InvalidRequestError:
    """The first problem of a request body: which field, and what it takes. Never the user's own text."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"] if part not in UNION_TAGS) or None
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return InvalidRequestError(f"{path}: {message}." if path else f"{message}.", param=path)


def error_body(error: ServiceError) -> bytes:
    """The JSON that every client can read."""
    return orjson.dumps(
        {
            "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code},
            "message": error.message,
            "detail": error.message,
        }
    )


def error_response(error: Exception, headers: Mapping[str, str] | None = None) -> Response:
    """An exception to the answer that the client gets."""
    known = translate(error)
    record_error(known.code)
    extra = dict(headers or {})
    if isinstance(error, HTTPException) and error.headers:
        extra |= error.headers  # Allow, with 405
    if known.retry_after_s is not None:
        extra["Retry-After"] = str(known.retry_after_s)
    return Response(error_body(known), status_code=known.status, media_type="application/json", headers=extra)
