"""Files for the user: made in the folder of parts and then put under their names, where they take nobody's place.

A finished file keeps its second name in the folder of parts until the run is over. So a run that was killed meanwhile
knows its own outputs again, and may write them anew; whatever else has their names is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

from corpus.journal import sync_folder
from corpus.problems import CorpusError

PREFIX = "whole."
"""Begins the second names."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def refuse_to_overwrite(source: Path, outputs: list[Path], folder: Path) -> None:
    """CorpusError where a name that the run will need is somebody else's, above all the input's."""
    for path in outputs:
        if path.exists() and path.samefile(source):
            raise CorpusError(f"{path} is the input, which the output would overwrite. Choose another --out.")
        if os.path.lexists(path) and not _is_ours(path, folder):
            raise CorpusError(f"{path} is there already. Remove it, or choose another --out.")
    if folder.resolve() in source.resolve().parents:
        raise CorpusError(f"{source} lies in {folder}, which the run needs for itself. Choose another --out.")
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "journal.jsonl").is_file()):
        raise CorpusError(f"{folder} is there already, and not of this script. Remove it, or choose another --out.")


@contextlib.contextmanager
def finished_file(path: Path, folder: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is complete and on the disk; else it leaves nothing."""
    made = _made(path, folder)
    if _is_ours(path, folder):
        path.unlink()
    made.unlink(missing_ok=True)  # of a run that was killed
    try:
        with made.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(made, path)
    except BaseException:
        if not _is_ours(path, folder):
            made.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def list_file(path: Path, folder: Path) -> Iterator[tuple[IO[bytes], list[Path]]]:
    """A file that takes the next name that is free, unless one of them has its content; empty, it takes none.

    The list that comes with it holds its name at the end.
    """
    made = _made(path, folder)
    made.unlink(missing_ok=True)
    name: list[Path] = []
    try:
        with made.open("xb") as file:
            yield file, name
            file.flush()
            os.fsync(file.fileno())
        if made.stat().st_size:
            name.append(_publish_somewhere(made, path))
    finally:
        made.unlink(missing_ok=True)


def _publish_somewhere(made: Path, path: Path) -> Path:
    for number in count(1):
        candidate = path if number == 1 else path.with_suffix(f".{number}{path.suffix}")
        if candidate.is_file() and filecmp.cmp(made, candidate, shallow=False):
            return candidate
        with contextlib.suppress(CorpusError):
            _publish(made, candidate)
            return candidate
    raise AssertionError


def _made(path: Path, folder: Path) -> Path:
    return folder / f"{PREFIX}{path.name}"


def _is_ours(path: Path, folder: Path) -> bool:
    """Whether it is a file that a run with this folder of parts has made."""
    try:
        there, made = os.lstat(path), os.lstat(_made(path, folder))
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (made.st_dev, made.st_ino)


def _publish(made: Path, path: Path) -> None:
    """Give a file its name, without taking the name from another one; CorpusError where one has it."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise _taken(path) from None
        made.rename(path)  # a file system without hard links


def _taken(path: Path) -> CorpusError:
    return CorpusError(f"{path} has appeared meanwhile and is kept. Move it away, and run the same command again.")
