"""Input files: what is wrong with them is said with the line and the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batches.lines import MAX_PROBLEMS, Limits, Validation
from tests.unit.batches.process import ENDPOINT, jsonl, parse, request

LIMITS = Limits(max_lines=100, max_body_bytes=1000)


def validate(tmp_path: Path, content: bytes, bytes_at_once: int = 1) -> Validation:
    """Check a file in small steps."""
    path = tmp_path / "input.jsonl"
    path.write_bytes(content)
    validation = Validation(LIMITS.read(path), ENDPOINT, LIMITS, parse)
    while validation.proceed(bytes_at_once):
        pass
    return validation


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n  \n"])
def test_valid_lines(tmp_path: Path, end: bytes) -> None:
    validation = validate(tmp_path, jsonl(request("a"), request("b")) + jsonl(request("日本")).rstrip() + end)
    assert (validation.total, validation.problems) == (3, [])


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        ({"custom_id": None}, "invalid_custom_id", "custom_id"),
        ({"custom_id": 7}, "invalid_custom_id", "custom_id"),
        ({"custom_id": ""}, "invalid_custom_id", "custom_id"),
        ({"custom_id": "x" * 513}, "invalid_custom_id", "custom_id"),
        ({"custom_id": "a"}, "duplicate_custom_id", "custom_id"),
        ({"method": "GET"}, "invalid_method", "method"),
        ({"method": ["POST"]}, "invalid_method", "method"),
        ({"url": "/v1/rerank"}, "mismatched_endpoint", "url"),
        ({"url": None}, "mismatched_endpoint", "url"),
        ({"body": "text"}, "invalid_request", "body"),
        ({"body": None}, "invalid_request", "body"),
    ],
)
def test_a_wrong_field(tmp_path: Path, wrong: dict[str, Any], code: str, param: str) -> None:
    (problem,) = validate(tmp_path, jsonl(request("a"), request("b") | wrong)).problems
    assert (problem["code"], problem["line"], problem["param"]) == (code, 2, param)


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b"\xff\xfe", b"null", b'{"custom_id": "b"} {}'])
def test_a_line_that_is_no_object(tmp_path: Path, line: bytes) -> None:
    (problem,) = validate(tmp_path, jsonl(request("a")) + line + b"\n").problems
    assert (problem["code"], problem["line"], problem["param"]) == ("invalid_json_line", 2, None)
    assert problem["message"].startswith("The line ")


def test_a_huge_line_ends_the_check(tmp_path: Path) -> None:
    content = jsonl(request("a")) + b"x" * 10_000 + b"\n" + jsonl(request("b"))
    (problem,) = validate(tmp_path, content).problems
    assert (problem["code"], problem["line"]) == ("line_too_long", 2)
    assert "1000 bytes (MAX_BODY_BYTES)" in problem["message"]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_requests(tmp_path: Path, content: bytes) -> None:
    (problem,) = validate(tmp_path, content).problems
    assert (problem["code"], problem["line"]) == ("empty_file", None)


def test_too_many_lines(tmp_path: Path) -> None:
    whole = jsonl(*(request(str(number)) for number in range(100)))
    assert validate(tmp_path, whole, 10_000).problems == []
    (problem,) = validate(tmp_path, whole + jsonl(request("more"), request("and more")), 10_000).problems
    assert problem["code"] == "too_many_requests"
    assert "100 requests (BATCH_MAX_LINES)" in problem["message"]


def test_only_the_first_problems_are_listed(tmp_path: Path) -> None:
    assert len(validate(tmp_path, b"{\n" * 99).problems) == MAX_PROBLEMS


def test_messages_do_not_quote_the_file(tmp_path: Path) -> None:
    secret = "a-user's-own-words"
    lines = [
        request(secret, method=secret),
        request(secret, url=secret),
        request(secret * 100),
        request(secret, body=secret),
    ]
    validation = validate(tmp_path, jsonl(*lines) + secret.encode())
    assert len(validation.problems) == 5
    assert secret not in str(validation.problems)
