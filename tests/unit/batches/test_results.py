"""The answers are the journal: what was not written completely is removed and computed again."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from batches.lines import Line
from batches.results import Results

ID = "batch_" + "0" * 32


def filled(folder: Path, *numbers: int) -> None:
    """Answers to lines: even numbers succeed, odd ones fail."""
    with Results(folder, ID) as results:
        for number in numbers:
            results.add(Line(number, b""), f"id {number}", 400 if number % 2 else 200, b'{"n":1}')


def test_lines_as_at_openai(tmp_path: Path) -> None:
    filled(tmp_path, 2, 3)
    with Results(tmp_path, ID) as results:
        results.add_error(Line(4, b""), "late", "batch_expired", "Too late.")
    (good,) = map(json.loads, (tmp_path / "output.jsonl").read_bytes().splitlines())
    bad, late = map(json.loads, (tmp_path / "errors.jsonl").read_bytes().splitlines())
    assert good.keys() == bad.keys() == late.keys() == {"id", "custom_id", "response", "error"}
    assert good["response"] | {"request_id": ""} == {"status_code": 200, "request_id": "", "body": {"n": 1}}
    assert (good["custom_id"], good["error"]) == ("id 2", None)
    assert bad["response"]["status_code"] == 400
    assert (late["custom_id"], late["response"], late["error"]["code"]) == ("late", None, "batch_expired")
    assert len({good["id"], bad["id"], late["id"]}) == 3


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_an_incomplete_line_is_removed(tmp_path: Path, cut: int) -> None:
    filled(tmp_path, 2, 4, 6)
    path = tmp_path / "output.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Results(tmp_path, ID) as results:
        assert results.done == {2, 4}
    assert whole.startswith(path.read_bytes())
    filled(tmp_path, 6)
    with Results(tmp_path, ID) as results:
        assert results.done == {2, 4, 6}


def test_blocks_that_a_power_failure_zeroed_are_removed(tmp_path: Path) -> None:
    filled(tmp_path, 2, 3, 4)
    path = tmp_path / "output.jsonl"
    first = path.read_bytes().index(b"\n") + 1
    path.write_bytes(path.read_bytes()[:first] + b"\0" * 100 + b"\n")
    with Results(tmp_path, ID) as results:
        assert results.done == {2, 3}


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """A file on a disk that becomes full in the middle of a line."""

        def __init__(self, file: Any) -> None:
            self._file = file
            self._left = 20

        def write(self, data: memoryview) -> int:
            if not self._left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written: int = self._file.write(data[: self._left])
            self._left -= written
            return written

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    filled(tmp_path, 2)
    before = (tmp_path / "output.jsonl").read_bytes()
    with Results(tmp_path, ID) as results:
        whole, results.output._file = results.output._file, Full(results.output._file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space"):
            results.add(Line(4, b""), "id 4", 200, b"{}")
        assert (tmp_path / "output.jsonl").read_bytes() == before
        assert results.done == {2}
        results.output._file = whole
        results.add(Line(4, b""), "id 4", 200, b"{}")
    with Results(tmp_path, ID) as results:
        assert results.done == {2, 4}
