"""Files: uploaded requests, and the answers of batches."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from batches.objects import FILE, FileObject, Purpose, is_id, new_id, read_json, write_json
from errors import ObjectNotFoundError

DAY_S = 86_400
_MAX_NAME = 255
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

Clock = Callable[[], float]
"""Unix time in seconds."""


class FileStore:
    """The files below one folder. A file exists while its object does, and until it expires.

    Methods access the disk; call them off the event loop. OSError if it fails or is full.
    """

    def __init__(self, folder: Path, *, max_age_s: float, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_age_s = max_age_s
        self._clock = clock

    @contextlib.contextmanager
    def draft(self) -> Iterator[IO[bytes]]:
        """An open file for new content. At the end of the block it is deleted, unless `publish` has moved it."""
        path = self._folder / f".{secrets.token_hex(16)}.draft"
        try:
            with path.open("xb") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def new_id(self) -> str:
        """An id for `publish`."""
        return new_id("file-", self._clock())

    def publish(
        self,
        content: Path,
        filename: str,
        file_id: str,
        purpose: Purpose = "batch_output",
        expires_after_s: int | None = None,
    ) -> FileObject:
        """Move complete content into the store. Calling it again after an interruption finishes the work."""
        now = self._clock()
        target = self._content_path(file_id)
        if content.exists():
            with content.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(content, target)
        age_s = min(self._max_age_s, expires_after_s or self._max_age_s)
        made: FileObject = {
            "id": file_id,
            "object": "file",
            "bytes": target.stat().st_size,
            "created_at": int(now),
            "expires_at": int(now + age_s),
            "filename": _UNPRINTABLE.sub("", filename)[:_MAX_NAME] or "file",
            "purpose": purpose,
            "status": "processed",
        }
        write_json(self._object_path(file_id), made)
        return made

    def get(self, file_id: str) -> FileObject:
        """A file's object; ObjectNotFoundError."""
        found = read_json(self._object_path(file_id), FILE) if is_id(file_id, "file-") else None
        if found is None or found["expires_at"] <= self._clock():
            raise ObjectNotFoundError("There is no file with this id. GET /v1/files lists all files.", param="id")
        return found

    def content(self, file_id: str) -> Path:
        """The path of a file's content; ObjectNotFoundError."""
        return self._content_path(self.get(file_id)["id"])

    def delete(self, file_id: str) -> None:
        """Delete a file; ObjectNotFoundError. Batches that have begun keep their input."""
        self._remove(self.get(file_id)["id"])

    def page(
        self, *, limit: int, after: str | None = None, purpose: str | None = None, ascending: bool = False
    ) -> tuple[list[FileObject], bool]:
        """Up to `limit` files behind the id `after`, newest first unless `ascending`, and whether there are more."""
        ids = sorted((path.stem for path in self._folder.glob("file-*.json")), reverse=not ascending)
        behind = (each for each in ids if after is None or (each > after if ascending else each < after))
        found = list(islice((file for each in behind if (file := self._find(each, purpose))), limit + 1))
        return found[:limit], len(found) > limit

    def _find(self, file_id: str, purpose: str | None) -> FileObject | None:
        with contextlib.suppress(ObjectNotFoundError):
            found = self.get(file_id)
            return found if purpose in (None, found["purpose"]) else None
        return None

    def clean(self) -> None:
        """Delete expired files, and what interrupted uploads and deletions left a day ago."""
        now = self._clock()
        for path in self._folder.iterdir():
            found = read_json(path, FILE) if path.suffix == ".json" else None
            if found is not None and found["expires_at"] <= now:
                self._remove(found["id"])
            elif not path.with_suffix(".json").exists():
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < now - DAY_S:
                        path.unlink()

    def _remove(self, file_id: str) -> None:
        self._object_path(file_id).unlink(missing_ok=True)
        self._content_path(file_id).unlink(missing_ok=True)

    def _object_path(self, file_id: str) -> Path:
        return self._folder / f"{file_id}.json"

    def _content_path(self, file_id: str) -> Path:
        return self._folder / f"{file_id}.jsonl"
