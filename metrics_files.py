"""The files in which workers share their metrics, made safe for a full disk.

prometheus_client maps sparse files to memory: if the disk has no block left for a page, the system kills the process
(SIGBUS), and its replacement, too. This module reserves blocks before they are written. If that fails, the values stay
in the memory of the process, whose own /metrics still shows them.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import prometheus_client.multiprocess
import prometheus_client.values
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

logger = logging.getLogger("service")

FIRST_BYTES = 1 << 16
"""Size of a new file, as in prometheus_client; it doubles when full."""
_HEAD_BYTES = 8
_VALUE_BYTES = 16

Value = tuple[str, float, float, int]
"""Key, value, timestamp, and position in the file."""


def install() -> None:
    """Make prometheus_client reserve the blocks of its files. Call it before the first metric is declared."""
    prometheus_client.values.MmapedDict = ReservedDict  # type: ignore[attr-defined]  # no public hook
    prometheus_client.multiprocess.MmapedDict = ReservedDict  # type: ignore[attr-defined]  # for reading


def gather() -> bytes:
    """The metrics of all workers, summed, in the format of /metrics."""
    registry = CollectorRegistry()
    registry.register(_AllWorkers())
    return generate_latest(registry)


class _AllWorkers:
    """The metrics in the workers' files and in this process's memory.

    Skips empty files, on which prometheus_client's own collector fails: a worker creates a file, then extends it.
    """

    def collect(self) -> Iterable[Metric]:
        names = list(ReservedDict.in_memory)
        parent = folder()
        for path in parent.glob("*.db") if parent else ():
            with contextlib.suppress(FileNotFoundError):  # an ending worker deletes files
                if path.stat().st_size and str(path) not in ReservedDict.in_memory:
                    names.append(str(path))
        merged: Iterable[Metric] = MultiProcessCollector.merge(names)  # type: ignore[no-untyped-call]  # prometheus_client
        return merged


def folder() -> Path | None:
    """The folder of the workers' files; None in a single process without files, or if the folder does not exist."""
    try:
        collector = MultiProcessCollector(None)  # type: ignore[no-untyped-call]  # finds the folder
    except ValueError:
        return None
    return Path(collector._path)


class ReservedDict(MmapedDict):
    """prometheus_client's file of values, which continues in memory if the disk is full."""

    in_memory: ClassVar[dict[str, ReservedDict]] = {}
    """This process's instances without a file, by the file name that they would have."""
    _warned: ClassVar[bool] = False
    _f: Any

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            if not read_mode:
                _reserve(filename)
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            self._f = None
            self._fname = filename
            self._capacity = 0
            self._positions: dict[str, int] = {}
            self._used = _HEAD_BYTES
            self._move(FIRST_BYTES, error)
            self._m[: _HEAD_BYTES // 2] = _HEAD_BYTES.to_bytes(_HEAD_BYTES // 2, "little")

    def _init_value(self, key: str) -> None:
        padded = _padded(len(key.encode()))
        while self._used + padded + _VALUE_BYTES > self._capacity:
            self._grow()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self) -> None:
        wanted = 2 * self._capacity
        if self._f is None:
            self._move(wanted)
            return
        try:
            os.posix_fallocate(self._f.fileno(), 0, wanted)
            self._m = mmap.mmap(self._f.fileno(), wanted)
            self._capacity = wanted
        except OSError as error:
            self._move(wanted, error)

    def _move(self, capacity: int, error: OSError | None = None) -> None:
        """Continue in memory without a file, keeping the values."""
        memory = mmap.mmap(-1, capacity)
        if self._capacity:
            memory[: self._capacity] = self._m[: self._capacity]
        self._m, self._capacity = memory, capacity
        if error is None:
            return
        self.in_memory[self._fname] = self
        if self._f is not None:
            self._f.close()
            self._f = None
        with contextlib.suppress(OSError):
            Path(self._fname).unlink()  # else its values would count twice
        if not ReservedDict._warned:
            ReservedDict._warned = True
            logger.warning(
                "metrics are kept in memory because %s cannot be written (%s): with several workers, /metrics shows "
                "only those of the worker that responds",
                self._fname,
                error.strerror,
            )

    def close(self) -> None:
        """Discard the values."""
        self.in_memory.pop(self._fname, None)
        super().close()  # type: ignore[no-untyped-call]

    @staticmethod
    def read_all_values_from_file(filename: str) -> Iterator[Value]:
        """The values of a file, or of the instance in memory that replaces it."""
        kept = ReservedDict.in_memory.get(filename)
        if kept is not None:
            return iter(list(kept._read_all_values()))  # type: ignore[no-untyped-call]
        values: Iterator[Value] = MmapedDict.read_all_values_from_file(filename)  # type: ignore[no-untyped-call]
        return values


def _reserve(filename: str) -> None:
    """Create or extend a file with reserved blocks; OSError, and no new blocks, if the disk is full."""
    with open(filename, "ab") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, max(size, FIRST_BYTES))
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise


def _padded(length: int) -> int:
    """Padded size of a key with its 4-byte length: a multiple of 8 (prometheus_client/mmap_dict.py)."""
    return 4 + length + (8 - (length + 4) % 8)
