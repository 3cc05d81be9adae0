"""Checks of error responses."""

from typing import Any

import httpx
import httpx2  # for responses of Starlette's TestClient


def refused(response: httpx.Response | httpx2.Response, status: int, code: str, param: str | None = None) -> str:
    """Check status and body, and return the message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return message_of(response.json(), code, param)


def message_of(body: Any, code: str | None = None, param: str | None = None) -> str:
    """Check an error's body and return its message."""
    assert set(body) == {"error", "message", "detail"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] in {"invalid_request_error", "rate_limit_error", "server_error"}
    message = error["message"]
    assert isinstance(message, str)
    assert message
    assert body["message"] == body["detail"] == message
    if code is not None:
        assert error["code"] == code, message
        assert error["param"] == param, message
    return message
