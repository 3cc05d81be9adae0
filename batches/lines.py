"""The lines of an input file: one request each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from batches.objects import BatchError
from errors import ServiceError

MAX_PROBLEMS = 20
"""Problems of an input file that a client gets to see."""
_MAX_CUSTOM_ID = 512
_ENVELOPE_BYTES = 4096
"""Room in a line for the fields beside the body."""

Parse = Callable[[bytes], dict[str, Any]]
"""Parses a line as a JSON object; raises ServiceError."""


class Line(NamedTuple):
    """A line with its number, which starts at 1. A line that is too long is cut off."""

    number: int
    content: bytes
    too_long: bool = False


@dataclass(frozen=True)
class Limits:
    """Limits of an input file."""

    max_lines: int
    max_body_bytes: int

    def read(self, path: Path) -> Iterator[Line]:
        """The lines that are not empty, one at a time."""
        most = self.max_body_bytes + _ENVELOPE_BYTES
        number = 0
        with path.open("rb") as file:
            while content := file.readline(most + 1):
                number += 1
                too_long = len(content) > most
                if content.strip() or too_long:
                    yield Line(number, content, too_long)
                if too_long:
                    return


class Validation:
    """Counts the requests of an input file and collects its problems, a part of the file at a time."""

    def __init__(self, lines: Iterator[Line], endpoint: str, limits: Limits, parse: Parse) -> None:
        self.problems: list[BatchError] = []
        self.total = 0
        self._lines = lines
        self._endpoint = endpoint
        self._limits = limits
        self._parse = parse
        self._custom_ids: set[bytes] = set()

    def proceed(self, bytes_at_once: int) -> bool:
        """Check at least one line and about `bytes_at_once`; False once the file has been checked."""
        checked = 0
        for line in self._lines:
            self.total += 1
            if problem := self._find_problem(line):
                self.problems.append(problem)
            checked += len(line.content)
            if self.total > self._limits.max_lines or len(self.problems) >= MAX_PROBLEMS:
                return False
            if checked >= bytes_at_once:
                return True
        if not self.total:
            self.problems.append(_problem("empty_file", "The file has no requests. Put one JSON object on each line."))
        return False

    def _find_problem(self, line: Line) -> BatchError | None:
        if self.total > self._limits.max_lines:
            return _problem(
                "too_many_requests",
                f"The file has more than {self._limits.max_lines} requests (BATCH_MAX_LINES). Split it.",
            )
        if line.too_long:
            return _problem(
                "line_too_long",
                f"The body of this line exceeds {self._limits.max_body_bytes} bytes (MAX_BODY_BYTES). Send fewer texts "
                "in one request.",
                line.number,
            )
        try:
            content = self._parse(line.content)
        except ServiceError as error:
            message = error.message.replace("The body", "The line", 1)
            return _problem("invalid_json_line", message, line.number)
        return self._find_wrong_field(content, line.number)

    def _find_wrong_field(self, content: dict[str, Any], number: int) -> BatchError | None:
        custom_id = content.get("custom_id")
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _MAX_CUSTOM_ID:
            message = f"custom_id must be a string of 1 to {_MAX_CUSTOM_ID} characters."
            return _problem("invalid_custom_id", message, number, "custom_id")
        if content.get("method") != "POST":
            return _problem("invalid_method", "method must be POST.", number, "method")
        if content.get("url") != self._endpoint:
            message = f"url must be {self._endpoint}, the endpoint of the batch."
            return _problem("mismatched_endpoint", message, number, "url")
        if not isinstance(content.get("body"), dict):
            return _problem("invalid_request", "body must be a JSON object.", number, "body")
        digest = hashlib.blake2b(custom_id.encode(errors="surrogatepass"), digest_size=16).digest()
        if digest in self._custom_ids:
            message = "Another line has the same custom_id. Each line needs its own."
            return _problem("duplicate_custom_id", message, number, "custom_id")
        self._custom_ids.add(digest)
        return None


def _problem(code: str, message: str, line: int | None = None, param: str | None = None) -> BatchError:
    return {"code": code, "line": line, "message": message, "param": param}
