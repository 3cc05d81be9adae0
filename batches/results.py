"""The answers of a batch's lines. Their files are the journal: a line with an answer is not computed again."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import IO, Self

import orjson

from batches.lines import Line

_HEAD = re.compile(rb'\{"id":"batch_req_[0-9a-f]+_(\d+)",.*\}\n', re.DOTALL)
"""A whole line of an output or error file; the end of its id is the number of the line of the input file."""


class Results:
    """The output file and the error file of one batch. Not thread-safe. OSError if the disk fails or is full."""

    def __init__(self, folder: Path, batch_id: str) -> None:
        """Open the files, or create them. What was not written completely is removed."""
        self._id = batch_id.removeprefix("batch_")
        self.done: set[int] = set()
        """Numbers of the lines that have an answer."""
        self.output = self._open(folder / "output.jsonl")
        self.errors = self._open(folder / "errors.jsonl")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self.output.close()
        self.errors.close()

    def _open(self, path: Path) -> Answers:
        answers = Answers(path)
        self.done |= answers.numbers
        return answers

    def add(self, line: Line, custom_id: str, status: int, body: bytes) -> None:
        """Write the response to a line: status 200 to the output file, others to the error file."""
        response = {"status_code": status, "request_id": secrets.token_hex(16), "body": orjson.Fragment(body)}
        self._add(self.output if status == 200 else self.errors, line, custom_id, response=response)

    def add_error(self, line: Line, custom_id: str, code: str, message: str) -> None:
        """Write to the error file why a line has no response."""
        self._add(self.errors, line, custom_id, error={"code": code, "message": message})

    def _add(
        self,
        answers: Answers,
        line: Line,
        custom_id: str,
        *,
        response: dict[str, object] | None = None,
        error: dict[str, str] | None = None,
    ) -> None:
        content = {
            "id": f"batch_req_{self._id}_{line.number}",
            "custom_id": custom_id,
            "response": response,
            "error": error,
        }
        answers.append(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE), line.number)
        self.done.add(line.number)


class Answers:
    """A file with one answer per line, open for appending."""

    def __init__(self, path: Path) -> None:
        self.numbers: set[int] = set()
        """Numbers of the lines of the input that are answered here."""
        self._file: IO[bytes] = path.open("ab+", buffering=0)
        self._size = self._read()
        self._file.truncate(self._size)

    def _read(self) -> int:
        """The size of the part that was written completely. After a power failure, the rest may be anything."""
        size = 0
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as reader:
            for content in reader:
                if (head := _HEAD.fullmatch(content)) is None:
                    break
                self.numbers.add(int(head[1]))
                size += len(content)
        return size

    def append(self, content: bytes, number: int) -> None:
        """Append a line; if that fails, nothing of it remains."""
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(content)
        self.numbers.add(number)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
