"""Output files: written in the folder of parts, then published under their names without overwriting other files.

A published file keeps a second name in the folder of parts until the run ends. After a kill, the next run thereby
recognises its own outputs and may replace them.
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
"""Prefix of the second names."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def refuse_to_overwrite(source: Path, outputs: list[Path], folder: Path) -> None:
    """Raise CorpusError if a path that the run will write belongs to another file, for example to the input."""
    for path in outputs:
        if path.exists() and path.samefile(source):
            raise CorpusError(f"{path} is the input, which the output would overwrite. Choose another --out.")
        if os.path.lexists(path) and not _is_ours(path, folder):
            raise CorpusError(f"{path} already exists. Remove it, or choose another --out.")
    if folder.resolve() in source.resolve().parents:
        raise CorpusError(f"{source} is in {folder}, which the run needs for its own files. Choose another --out.")
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "journal.jsonl").is_file()):
        raise CorpusError(
            f"{folder} already exists and was not created by this program. Remove it, or choose another --out."
        )


@contextlib.contextmanager
def finished_file(path: Path, folder: Path) -> Iterator[IO[bytes]]:
    """Write a file that is published once it is complete and flushed to disk; on failure nothing remains."""
    made = _made(path, folder)
    if _is_ours(path, folder):
        path.unlink()
    made.unlink(missing_ok=True)  # left by a killed run
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
    """Write a file that is published under the next free name, unless an earlier one has the same content.

    An empty file is not published. At the end, the yielded list contains the file's path.
    """
    made = _made(path, folder)
    made.unlink(missing_ok=True)
    published: list[Path] = []
    try:
        with made.open("xb") as file:
            yield file, published
            file.flush()
            os.fsync(file.fileno())
        if made.stat().st_size:
            published.append(_publish_next(made, path))
    finally:
        made.unlink(missing_ok=True)


def _publish_next(made: Path, path: Path) -> Path:
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
    """Whether the file was published by a run with this folder of parts."""
    try:
        present, made = os.lstat(path), os.lstat(_made(path, folder))
    except FileNotFoundError:
        return False
    return (present.st_dev, present.st_ino) == (made.st_dev, made.st_ino)


def _publish(made: Path, path: Path) -> None:
    """Give a file its name; CorpusError if another file has that name."""
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
    return CorpusError(
        f"{path} was created by another program meanwhile. Move it away, and run the same command again."
    )
