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

SECRET = "the user's very private words"


def body(response: Response) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(bytes(response.body))
    return content


def test_an_error_has_one_body_for_all_clients(caplog: pytest.LogCaptureFixture) -> None:
    """docs/errors.md lists status and code of every class; tests/e2e/test_readme.py compares them."""
    response = error_response(errors.OverloadedError("What was wrong.", param="input.3"), {"X-Request-Id": "1"})
    assert (response.status_code, response.media_type) == (429, "application/json")
    assert body(response) == {
        "error": {
            "message": "What was wrong.",
            "type": "rate_limit_error",
            "param": "input.3",
            "code": "rate_limit_exceeded",
        },
        "message": "What was wrong.",
        "detail": "What was wrong.",
    }
    assert "retry-after" not in response.headers
    assert error_response(errors.OverloadedError("Later.", retry_after_s=7)).headers["Retry-After"] == "7"
    assert response.headers["X-Request-Id"] == "1"
    assert not caplog.records


def test_ollamas_clients_read_a_string() -> None:
    error = errors.OverloadedError("What was wrong.", param="input.3")
    assert body(error_response(error, path="/api/embed")) == {"error": "What was wrong."}
    assert "detail" in body(error_response(error, path="/v1/embeddings"))


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [
        (404, 404, "route_not_found"),
        (405, 405, "method_not_allowed"),
        (413, 413, "body_too_large"),
        (422, 400, "invalid_value"),
        (429, 429, "rate_limit_exceeded"),
        (503, 503, "model_unavailable"),
    ],
)
def test_what_the_framework_answers_gets_our_shape(status: int, answered: int, code: str) -> None:
    response = error_response(HTTPException(status, detail=SECRET, headers={"Allow": "GET, HEAD"}))
    assert (response.status_code, body(response)["error"]["code"]) == (answered, code)
    assert response.headers["Allow"] == "GET, HEAD"
    assert SECRET.encode() not in bytes(response.body)


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
