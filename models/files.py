"""Link, copy and hash files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from pathlib import Path

from models.facts import LOCAL

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers for a full disk or quota."""
_FICLONE = 0x40049409
"""The ioctl that shares blocks between two files until one is written to (linux/fs.h)."""


def link(source: Path, target: Path) -> None:
    """Hard-link a file of our own working folder, or copy it between file systems.

    Only for our own files: writing to a hard link changes the original, too.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    origin = source.resolve()
    try:
        os.link(origin, target)
    except OSError:
        copy(origin, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file's content; as a reflink, which takes no space, if the file system supports it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as origin, target.open("wb") as clone:
        try:
            fcntl.ioctl(clone, _FICLONE, origin.fileno())
        except OSError:  # most file systems do not
            shutil.copyfileobj(origin, clone, 2**20)


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: readers find the old text or the new one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def sync(folder: Path) -> None:
    """Flush every file below a folder to disk, so that a power failure cannot leave names without content."""
    for name in relative_files(folder):
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())


def relative_files(folder: Path) -> list[str]:
    """Sorted relative names of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_revision(folder: Path) -> str:
    """The revision of a local folder: `local-` and a hash of its files' names and contents."""
    files = [name for name in relative_files(folder) if not name.startswith(".")]
    joined = "\n".join(f"{name} {digest(folder / name)}" for name in files)
    return f"{LOCAL}{hashlib.sha256(joined.encode()).hexdigest()[:40]}"
