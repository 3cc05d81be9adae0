"""The journal of a run, with which the next one resumes: a line for the plan, then one for each finished part.

A last line without a newline is incomplete and ignored.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from corpus.problems import CorpusError

PART = re.compile(r"\d{12}\.(npz|ids\.json)|\.\d{12}\.(npz|ids\.json)\.unfinished")
"""Names of a part's files, finished or unfinished."""

_VERSION = 2
_HEAD = b'{"input":'
"""The first bytes of every journal."""
_SAMPLE_BYTES = 2**16


@dataclass(frozen=True)
class Plan:
    """The input and options of a run; a run can only be resumed with the same ones."""

    input: dict[str, Any]
    options: dict[str, Any]
    rows: int
    """Rows of the input, including invalid ones."""
    good_rows: int
    ids: Literal["numbers", "texts"]
    version: int = _VERSION


@dataclass(frozen=True)
class Part:
    """A finished part: input rows `first` to `stop` - 1, of which `rows` are valid and have vectors."""

    first: int
    stop: int
    rows: int
    widths: dict[str, int]
    """Output -> width of its vectors; sparse vectors have none."""
    model: str
    tokens: int
    truncated: int
    seconds: float
    sha256: dict[str, str]
    """File name -> digest."""


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and modification time of a file, and a hash of its head and tail."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_SAMPLE_BYTES)
        file.seek(max(0, size - _SAMPLE_BYTES))
        tail = file.read(_SAMPLE_BYTES)
        changed = os.fstat(file.fileno()).st_mtime_ns
    digest = hashlib.sha256(head + tail).hexdigest()
    return {"bytes": size, "changed_ns": changed, "head_and_tail_sha256": digest}


@dataclass
class Journal:
    """The open journal of one run, locked for this process."""

    path: Path
    plan: Plan
    _file: IO[bytes]
    parts: list[Part] = field(default_factory=list)

    @property
    def stop(self) -> int:
        """The first input row that is not done."""
        return self.parts[-1].stop if self.parts else 0

    @property
    def rows(self) -> int:
        """The number of finished vectors."""
        return sum(part.rows for part in self.parts)

    def append(self, part: Part) -> None:
        """Record a part whose files are on disk."""
        _append(self._file, asdict(part))
        self.parts.append(part)


@contextlib.contextmanager
def open_journal(
    path: Path, compare: dict[str, dict[str, Any]], make_plan: Callable[[], Plan], *, restart: bool = False
) -> Iterator[Journal]:
    """Open the journal at `path`, or create one with `make_plan`; `restart` always creates a new one.

    Raises CorpusError if another process has it open, or if its input or options differ from `compare`.
    """
    with path.open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CorpusError(
                f"Another run is using {path.parent}. Wait until it ends, or choose another --out."
            ) from None
        if restart:
            _empty(file, path.parent)
        lines = _complete_lines(file)
        if len(lines) == 1 and _difference(_read_plan(path, lines[0]), compare):
            _empty(file, path.parent)  # no part is finished, so nothing can be mixed
            lines = []
        if lines:
            plan = _read_plan(path, lines[0])
            if difference := _difference(plan, compare):
                raise CorpusError(
                    f"{path.parent} belongs to a different run: {difference}. Choose another --out, or discard its "
                    "results with --restart."
                )
        else:
            try:
                plan = make_plan()
            except BaseException:
                path.unlink()
                with contextlib.suppress(OSError):  # the folder has other files
                    path.parent.rmdir()
                raise
            _append(file, asdict(plan))
            sync_folder(path.parent)
        yield Journal(path, plan, file, [_read_part(path, line) for line in lines[1:]])


def _empty(file: IO[bytes], folder: Path) -> None:
    """Empty the journal, then delete all parts; CorpusError if the file is not a journal."""
    file.seek(0)
    head = file.read(len(_HEAD))
    if not _HEAD.startswith(head):
        raise CorpusError(f"{file.name} was not created by this program. Choose another --out.")
    file.truncate(0)
    os.fsync(file.fileno())
    for path in folder.iterdir():
        if PART.fullmatch(path.name):
            path.unlink()


def _append(file: IO[bytes], content: dict[str, Any]) -> None:
    file.write(orjson.dumps(content) + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _complete_lines(file: IO[bytes]) -> list[bytes]:
    """Read the complete lines; cut off an incomplete last one."""
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        file.truncate(len(whole))
    return whole.splitlines()


def _read_plan(path: Path, line: bytes) -> Plan:
    try:
        values = orjson.loads(line)
        if values["version"] == _VERSION:
            return Plan(**values)
    except (orjson.JSONDecodeError, TypeError, KeyError):
        raise _damaged(path) from None
    raise CorpusError(f"{path} was written by another version of this program. Start over with --restart.")


def _read_part(path: Path, line: bytes) -> Part:
    try:
        return Part(**orjson.loads(line))
    except (orjson.JSONDecodeError, TypeError):
        raise _damaged(path) from None


def _damaged(path: Path) -> CorpusError:
    return CorpusError(f"{path} is damaged. Start over with --restart.")


def _difference(plan: Plan, compare: dict[str, dict[str, Any]]) -> str | None:
    """Describe the difference between this run and the planned one; None if there is none."""
    for words, planned, current in (
        ("the input has changed", plan.input, compare["input"]),
        ("the options differ", plan.options, compare["options"]),
    ):
        for name in current:
            if current[name] != planned.get(name):
                return f"{words} ({name}: {planned.get(name)} before, {current[name]} now)"
    return None


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that its names survive a power failure."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
