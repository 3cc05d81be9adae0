"""Files and folders that all nodes can reach: a shared folder, or object storage through pyarrow's file systems."""

from __future__ import annotations

import io
import posixpath
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from corpus.problems import CorpusError
from corpus.rows import import_pyarrow

_WHOLE_OBJECTS = ("s3", "gcs", "abfs")
"""File systems in which an object appears once it is complete."""


@dataclass(frozen=True)
class Place:
    """A file or folder of a pyarrow file system."""

    filesystem: Any
    path: str

    @classmethod
    def of(cls, name: str) -> Place:
        """The place of a path or URI; CorpusError if its file system is unknown."""
        pyarrow, _ = import_pyarrow()
        from pyarrow import fs

        if "://" not in name:
            return cls(fs.LocalFileSystem(), str(Path(name).absolute()))
        try:
            return cls(*fs.FileSystem.from_uri(name))
        except (pyarrow.ArrowException, ValueError) as error:
            raise CorpusError(f"{name}: {error}") from None

    @property
    def name(self) -> str:
        """Its name without folders."""
        return posixpath.basename(self.path)

    def __truediv__(self, name: str) -> Place:
        return replace(self, path=posixpath.join(self.path, name))

    def open(self, mode: Literal["rb"] = "rb", /) -> IO[bytes]:  # noqa: ARG002  # like pathlib.Path
        """Open it for reading."""
        return io.BufferedReader(self.filesystem.open_input_file(self.path), 2**20)

    def read(self) -> bytes | None:
        """Its content; None if it does not exist."""
        try:
            with self.open() as file:
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, content: Any) -> None:
        """Write it so that no other process sees a part of it."""
        if self.filesystem.type_name in _WHOLE_OBJECTS:
            self._write(content)
            return
        made = replace(self, path=posixpath.join(posixpath.dirname(self.path), f"_{self.name}.{uuid.uuid4().hex}"))
        made._write(content)
        self.filesystem.move(made.path, self.path)

    def _write(self, content: Any) -> None:
        with self.filesystem.open_output_stream(self.path) as file:
            file.write(content)

    def make_folder(self) -> None:
        """Make this folder; object storage has none."""
        if self.filesystem.type_name not in _WHOLE_OBJECTS:
            self.filesystem.create_dir(self.path, recursive=True)

    @property
    def is_empty(self) -> bool:
        """Whether the folder has no files, or does not exist."""
        return not self._below()

    def files(self) -> list[tuple[Place, int, int]]:
        """The file, or the files below the folder, sorted: place, size, and time of the last change in nanoseconds.

        Names that begin with `_` or `.` are left out. CorpusError if nothing has this name.
        """
        from pyarrow import fs

        info = self.filesystem.get_file_info(self.path)
        if info.type == fs.FileType.NotFound:
            raise CorpusError(f"{self.path} does not exist.")
        found = self._below() if info.type == fs.FileType.Directory else [info]
        found.sort(key=lambda each: each.path)
        return [(replace(self, path=each.path), each.size, each.mtime_ns or 0) for each in found]

    def _below(self) -> list[Any]:
        """Facts about the files of the folder, except those whose names begin with `_` or `.`."""
        from pyarrow import fs

        listed = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True, allow_not_found=True))
        return [each for each in listed if each.type == fs.FileType.File and each.base_name[0] not in "_."]
