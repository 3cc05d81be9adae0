"""Failures to answers: status, body and headers of every class, and what the log may hold."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import errors
from api.dialects.openai import EmbeddingRequest
from api.error_body import error_response, invalid_request
from errors import ServiceError

EVERY_CLASS = [
    (errors.InvalidRequestError, 400, "invalid_request_error", "invalid_value"),
    (errors.WrongModelKindError, 400, "invalid_request_error", "wrong_model_kind"),
    (errors.InputTooLongError, 400, "invalid_request_error", "input_too_long"),
    (errors.AuthenticationError, 401, "invalid_request_error", "invalid_api_key"),
    (errors.RouteNotFoundError, 404, "invalid_request_error", "route_not_found"),
    (errors.ModelNotFoundError, 404, "invalid_request_error", "model_not_found"),
    (errors.MethodNotAllowedError, 405, "invalid_request_error", "method_not_allowed"),
    (errors.RequestIncompleteError, 408, "invalid_request_error", "request_timeout"),
    (errors.BodyTooLargeError, 413, "invalid_request_error", "body_too_large"),
    (errors.UnsupportedEncodingError, 415, "invalid_request_error", "unsupported_encoding"),
    (errors.OverloadedError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (errors.HeadTooLargeError, 431, "invalid_request_error", "head_too_large"),
    (errors.InternalError, 500, "server_error", "internal_error"),
    (errors.UpstreamError, 502, "server_error", "upstream_error"),
    (errors.ModelUnavailableError, 503, "server_error", "model_unavailable"),
    (errors.ShuttingDownError, 503, "server_error", "shutting_down"),
    (errors.DeadlineError, 504, "server_error", "deadline_exceeded"),
]
SECRET = "the user's very private words"


def body(response: Response) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(bytes(response.body))
    return content


@pytest.mark.parametrize(("kind", "status", "error_type", "code"), EVERY_CLASS)
def test_every_class_has_its_answer(kind: type[ServiceError], status: int, error_type: str, code: str) -> None:
    response = error_response(kind("What was wrong.", param="input.3"))
    assert (response.status_code, response.media_type) == (status, "application/json")
    assert body(response) == {
        "error": {"message": "What was wrong.", "type": error_type, "param": "input.3", "code": code},
        "message": "What was wrong.",
        "detail": "What was wrong.",
    }
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("kind", [errors.OverloadedError, errors.ModelUnavailableError])
def test_retry_after_is_a_header(kind: type[ServiceError]) -> None:
    assert error_response(kind("Later.", retry_after_s=7)).headers["Retry-After"] == "7"


def test_further_headers_are_kept() -> None:
    assert error_response(errors.InternalError("No."), {"X-Request-Id": "1"}).headers["X-Request-Id"] == "1"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "route_not_found"),
        (405, "method_not_allowed"),
        (413, "body_too_large"),
        (429, "rate_limit_exceeded"),
        (503, "model_unavailable"),
    ],
)
def test_what_the_framework_answers_gets_our_shape(status: int, code: str) -> None:
    response = error_response(HTTPException(status, detail=SECRET))
    assert (response.status_code, body(response)["error"]["code"]) == (status, code)
    assert SECRET.encode() not in bytes(response.body)


def test_any_other_refusal_of_the_framework_is_a_400() -> None:
    response = error_response(HTTPException(422, detail=SECRET))
    assert (response.status_code, body(response)["error"]["code"]) == (400, "invalid_value")
    assert SECRET.encode() not in bytes(response.body)


def test_the_frameworks_headers_are_kept() -> None:
    assert error_response(HTTPException(405, headers={"Allow": "GET, HEAD"})).headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("error", [ValueError(SECRET), KeyError(SECRET), HTTPException(501, detail=SECRET)])
def test_the_unexpected_is_a_plain_500(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    response = error_response(error)
    assert (response.status_code, body(response)["error"]["code"]) == (500, "internal_error")
    assert SECRET.encode() not in bytes(response.body)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert type(error).__name__ in record.getMessage()


def test_the_log_shows_where_it_happened_but_no_word_of_the_exception(caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"cannot read {SECRET}") from error

    try:
        work()
    except ValueError as error:
        error_response(error)
    assert "in work" in caplog.text
    assert SECRET not in caplog.text


def test_known_errors_are_not_logged_as_unexpected(caplog: pytest.LogCaptureFixture) -> None:
    error_response(errors.InvalidRequestError("Wrong."))
    assert not caplog.records


def test_a_validation_error_names_the_field_and_not_the_value() -> None:
    with pytest.raises(ValidationError) as raised:
        EmbeddingRequest.model_validate({"input": ["a", {SECRET: SECRET}]})
    translated = invalid_request(raised.value)
    assert translated.param == "input.1"
    assert translated.message == "input.1: Input should be a valid string."


def test_a_validation_error_without_a_place_has_no_param() -> None:
    class Anything(BaseModel):
        pass

    with pytest.raises(ValidationError) as raised:
        Anything.model_validate(SECRET)
    translated = invalid_request(raised.value)
    assert translated.param is None
    assert SECRET not in translated.message
