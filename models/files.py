"""Files and their digests."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from models.facts import LOCAL


def link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where the file systems differ."""
    target.parent.mkdir(parents=True, exist_ok=True)
    origin = source.resolve()  # a Hub cache holds links
    try:
        os.link(origin, target)
    except OSError:
        shutil.copyfile(origin, target)


def relative_files(folder: Path) -> list[str]:
    """Every file below a folder, as relative names in order."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_revision(folder: Path) -> str:
    """A revision for a local folder: `local-` and a hash of its files' names and contents."""
    files = [name for name in relative_files(folder) if not name.startswith(".")]
    joined = "\n".join(f"{name} {digest(folder / name)}" for name in files)
    return f"{LOCAL}{hashlib.sha256(joined.encode()).hexdigest()[:40]}"
