"""The batch API of one process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from batches.files import FileStore
from batches.objects import BatchEndpoint
from batches.runner import BatchRunner
from batches.running import Tools
from batches.store import BatchStore


@dataclass(frozen=True)
class BatchService:
    """The files, the batches and the runner over one folder."""

    files: FileStore
    batches: BatchStore
    runner: BatchRunner

    @classmethod
    def open(cls, folder: Path, tools: Tools, *, max_age_s: float, endpoints: Collection[BatchEndpoint]) -> Self:
        """The batch API over a folder, which is created if necessary; it runs batches of these endpoints."""
        files = FileStore(folder / "files", max_age_s=max_age_s, clock=tools.clock)
        batches = BatchStore(folder / "batches", max_age_s=max_age_s, clock=tools.clock)
        return cls(files, batches, BatchRunner(files, batches, tools, endpoints=endpoints))
