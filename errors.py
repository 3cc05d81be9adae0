"""All errors that a client may get, with status, type and code.

ServiceError
├── InvalidRequestError 400      the request is invalid; `param` names the field
│   ├── WrongModelKindError      an embedding request names a reranker
│   └── InputTooLongError        more tokens than the model's limit, or than fit in memory
├── AuthenticationError 401      the API key is missing or incorrect
├── ForbiddenError 403           the settings do not allow it
│   └── CrossSiteError           a page of another site sent the request
├── RouteNotFoundError 404       no such path
├── ModelNotFoundError 404       no such model; the message suggests similar names
├── ObjectNotFoundError 404      no such file or batch
├── MethodNotAllowedError 405
├── RequestIncompleteError 408   the head or the body did not arrive in time
├── ModelBusyError 409           the model is in use or is being loaded
├── BodyTooLargeError 413
├── AnswerTooLargeError 413      the response would have too many numbers
├── UnsupportedEncodingError 415 the body's Content-Encoding is not supported
├── OverloadedError 429          the queue is full; Retry-After
├── HeadTooLargeError 431        the path and headers are too long
├── InternalError 500            unexpected; details are logged and not sent to the client
├── UpstreamError 502            a provider to which the request was forwarded failed
├── ModelUnavailableError 503    the model cannot be served now; the message says why
│   └── UnsupportedModelError    only sentence-transformers may be able to run it
├── ShuttingDownError 503
├── DeadlineError 504
└── StorageFullError 507         the disk is full

api/error_body.py turns them into responses.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Base of all errors. `message` is for the client and never contains user text."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequestError(ServiceError):
    """400: the request is invalid; `param` names the field."""

    status, type, code = 400, "invalid_request_error", "invalid_value"


class WrongModelKindError(InvalidRequestError):
    """400: the model is of the wrong kind for this route."""

    code = "wrong_model_kind"


class InputTooLongError(InvalidRequestError):
    """400: more tokens than the model's limit while `truncate` is false, or more than fit in memory."""

    code = "input_too_long"


class AuthenticationError(ServiceError):
    """401: the API key is missing or incorrect."""

    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class ForbiddenError(ServiceError):
    """403: the settings do not allow it; the message names the setting."""

    status, type, code = 403, "invalid_request_error", "forbidden"


class CrossSiteError(ForbiddenError):
    """403: a page of another site sent a request that only the service's own page may send."""

    code = "cross_site_request"


class RouteNotFoundError(ServiceError):
    """404: no such path."""

    status, type, code = 404, "invalid_request_error", "route_not_found"


class ModelNotFoundError(ServiceError):
    """404: no such model in the catalogue."""

    status, type, code = 404, "invalid_request_error", "model_not_found"


class ObjectNotFoundError(ServiceError):
    """404: no such file or batch."""

    status, type, code = 404, "invalid_request_error", "not_found"


class MethodNotAllowedError(ServiceError):
    """405: the path exists for another method."""

    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class RequestIncompleteError(ServiceError):
    """408: the head or the body did not arrive in time."""

    status, type, code = 408, "invalid_request_error", "request_timeout"


class ModelBusyError(ServiceError):
    """409: the model is in use or is being loaded; try again later."""

    status, type, code = 409, "invalid_request_error", "model_busy"


class BodyTooLargeError(ServiceError):
    """413: the body has more bytes or values than the settings allow."""

    status, type, code = 413, "invalid_request_error", "body_too_large"


class AnswerTooLargeError(ServiceError):
    """413: the response would have more numbers than the settings allow."""

    status, type, code = 413, "invalid_request_error", "answer_too_large"


class UnsupportedEncodingError(ServiceError):
    """415: the body's Content-Encoding is not supported."""

    status, type, code = 415, "invalid_request_error", "unsupported_encoding"


class OverloadedError(ServiceError):
    """429: the queue is full."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class HeadTooLargeError(ServiceError):
    """431: the path and headers are too long."""

    status, type, code = 431, "invalid_request_error", "head_too_large"


class InternalError(ServiceError):
    """500: an unexpected error; the message has no details."""


class UpstreamError(ServiceError):
    """502: a provider to which the request was forwarded failed."""

    status, code = 502, "upstream_error"


class ModelUnavailableError(ServiceError):
    """503: the model cannot be served now; the message says why."""

    status, code = 503, "model_unavailable"


class UnsupportedModelError(ModelUnavailableError):
    """503: the service's own engines cannot run the model, or differ from its reference.

    An import then tries sentence-transformers, so that clients see this error only if that fails, too.
    """

    code = "unsupported_model"


class ShuttingDownError(ServiceError):
    """503: the process is shutting down; another replica can answer."""

    status, code = 503, "shutting_down"


class DeadlineError(ServiceError):
    """504: no response within REQUEST_TIMEOUT_S."""

    status, code = 504, "deadline_exceeded"


class StorageFullError(ServiceError):
    """507: the disk of the service is full."""

    status, code = 507, "storage_full"
