"""Files: taken over without being shared with anybody, and their digests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from models.facts import LOCAL

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk or a quota is used up."""
_FICLONE = 0x40049409
"""The ioctl that makes a file share another one's blocks until one of the two is written to (linux/fs.h)."""


def link(source: Path, target: Path) -> None:
    """Hard-link a file of our own working folder, or copy it where the file systems differ.

    For our own files only: whoever writes to one name of a hard link changes what the other one holds.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    origin = source.resolve()
    try:
        os.link(origin, target)
    except OSError:
        copy(origin, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file's content; where the file system can, without taking room for it (a reflink)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as origin, target.open("wb") as clone:
        try:
            fcntl.ioctl(clone, _FICLONE, origin.fileno())
        except OSError:  # most file systems can not
            shutil.copyfileobj(origin, clone, 2**20)


def copy_all(source: Path, names: Iterable[str], target: Path) -> None:
    """Copy files by their relative names."""
    for name in names:
        copy(source / name, target / name)


def sync(folder: Path) -> None:
    """Have every file below a folder on the disk, so that a power failure cannot leave names without their content."""
    for name in relative_files(folder):
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())


def relative_files(folder: Path) -> list[str]:
    """Every file below a folder, as relative names in order."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def size_of(folder: Path, names: Iterable[str]) -> int:
    """Bytes of these files together."""
    return sum((folder / name).stat().st_size for name in names)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_revision(folder: Path) -> str:
    """A revision for a local folder: `local-` and a hash of its files' names and contents."""
    files = [name for name in relative_files(folder) if not name.startswith(".")]
    joined = "\n".join(f"{name} {digest(folder / name)}" for name in files)
    return f"{LOCAL}{hashlib.sha256(joined.encode()).hexdigest()[:40]}"
