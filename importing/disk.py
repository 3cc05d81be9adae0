"""Disk space: checked before a large write, and named in the error when a write fails."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from errors import ModelUnavailableError
from models.files import DISK_FULL

_CANNOT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_BROKEN = (errno.EIO, errno.EFBIG)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise ModelUnavailableError if the disk of `folder` has less than `needed` bytes left for `what`."""
    if needed > free_bytes(folder):
        raise _no_space(folder, needed, what)


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, means that the disk or a quota is full.

    Libraries written in Rust (safetensors, tokenizers) put the error number into the message.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        if any(f"(os error {number})" in str(error) for number in DISK_FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_disk_error(error: OSError) -> bool:
    """Whether an error comes from the disk and not from the network."""
    return is_full(error) or error.errno in (*_CANNOT_WRITE, *_BROKEN)


def write_error(error: OSError, folder: Path, needed: int, what: str) -> ModelUnavailableError:
    """The error for `what`, which could not be written below `folder`."""
    if is_full(error) or (error.errno is None and free_bytes(folder) < needed):  # OpenVINO gives no error number
        return _no_space(folder, needed, what)
    advice = f"Set BENTOML_HOME to a folder that the user with id {os.geteuid()} can write to."
    if error.errno not in _CANNOT_WRITE:
        advice = "Is the disk full or read-only?"
    return ModelUnavailableError(
        f"{what[0].upper()}{what[1:]} could not be written to {folder} ({error.strerror or error}). {advice}"
    )


def _no_space(folder: Path, needed: int, what: str) -> ModelUnavailableError:
    size = f"it needs about {_size(needed)} in {folder}" if needed > 0 else f"it is written to {folder}"
    return ModelUnavailableError(
        f"Not enough disk space for {what}: {size}, which has {_size(free_bytes(folder))} free. Free some space, or "
        "set BENTOML_HOME to a folder on a larger disk."
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
