"""What a run has finished, so that the next one goes on there: a line for the plan, then one for each finished part.

A line counts once it ends with a newline: of a last line that was not written to its end nothing is believed.
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

PART = re.compile(r"\d{12}\.(npy|ids\.json)|\.\d{12}\.(npy|ids\.json)\.unfinished")
"""Names of a part's files, finished and not."""

_VERSION = 1
_HEAD = b'{"input":'
"""How every journal begins."""
_SAMPLE_BYTES = 2**16


@dataclass(frozen=True)
class Plan:
    """What a run is about; two runs with other fingerprints or options are not the same one."""

    input: dict[str, Any]
    options: dict[str, Any]
    rows: int
    """Rows of the input, wrong ones included."""
    good_rows: int
    ids: Literal["numbers", "texts"]
    version: int = _VERSION


@dataclass(frozen=True)
class Part:
    """A finished part: rows `first` to `stop` - 1 of the input, `rows` of which have a vector in it."""

    first: int
    stop: int
    rows: int
    dimensions: int
    model: str
    tokens: int
    truncated: int
    seconds: float
    sha256: dict[str, str]
    """Of each of its files."""


def fingerprint(path: Path) -> dict[str, Any]:
    """Size, time of change, and a hash of the head and the tail."""
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
    """The open journal of one run; nobody else can have it open."""

    path: Path
    plan: Plan
    _file: IO[bytes]
    parts: list[Part] = field(default_factory=list)

    @property
    def stop(self) -> int:
        """The first row of the input that is not done."""
        return self.parts[-1].stop if self.parts else 0

    @property
    def rows(self) -> int:
        """Vectors that are done."""
        return sum(part.rows for part in self.parts)

    def append(self, part: Part) -> None:
        """Note a part whose files are on the disk."""
        _append(self._file, asdict(part))
        self.parts.append(part)


@contextlib.contextmanager
def open_journal(
    path: Path, compare: dict[str, dict[str, Any]], make_plan: Callable[[], Plan], *, restart: bool = False
) -> Iterator[Journal]:
    """The journal at `path`, or a new one with the plan that is then made; with `restart` always a new one.

    CorpusError where another process has it open, or where it differs from `compare`: the input's fingerprint and the
    options.
    """
    with path.open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CorpusError(
                f"Another run writes to {path.parent} now. Wait for it, or choose another --out."
            ) from None
        if restart:
            _empty(file, path.parent)
        lines = _complete_lines(file)
        if len(lines) == 1 and _difference(_read_plan(path, lines[0]), compare):
            _empty(file, path.parent)  # nothing is finished, so that nothing can be mixed
            lines = []
        if lines:
            plan = _read_plan(path, lines[0])
            if difference := _difference(plan, compare):
                raise CorpusError(
                    f"{path.parent} holds what another run has done: {difference}. Choose another --out, or throw that "
                    "away with --restart."
                )
        else:
            try:
                plan = make_plan()
            except BaseException:
                path.unlink()
                with contextlib.suppress(OSError):  # something else lies there
                    path.parent.rmdir()
                raise
            _append(file, asdict(plan))
            sync_folder(path.parent)
        yield Journal(path, plan, file, [_read_part(path, line) for line in lines[1:]])


def _empty(file: IO[bytes], folder: Path) -> None:
    """Forget everything; the journal first. CorpusError where it is no journal."""
    file.seek(0)
    head = file.read(len(_HEAD))
    if not _HEAD.startswith(head):
        raise CorpusError(f"{file.name} is not of this script. Choose another --out.")
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
    """Lines that were written to their end; what stands behind them is cut off."""
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
    raise CorpusError(f"{path} was written by another version of this script. Begin anew with --restart.")


def _read_part(path: Path, line: bytes) -> Part:
    try:
        return Part(**orjson.loads(line))
    except (orjson.JSONDecodeError, TypeError):
        raise _damaged(path) from None


def _damaged(path: Path) -> CorpusError:
    return CorpusError(f"{path} is damaged. Begin anew with --restart.")


def _difference(plan: Plan, compare: dict[str, dict[str, Any]]) -> str | None:
    """What makes this another run than the planned one, in words; None where nothing does."""
    for words, found, wanted in (
        ("the input has changed", plan.input, compare["input"]),
        ("the options differ", plan.options, compare["options"]),
    ):
        for name in wanted:
            if wanted[name] != found.get(name):
                return f"{words} ({name}: {found.get(name)} then, {wanted[name]} now)"
    return None


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a loss of power."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
