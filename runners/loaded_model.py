"""A loaded model, and the state of any model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from models.catalog import ModelSpec
from models.store import StoredModel
from runners.contracts import Reranker
from runners.embedding import EmbeddingRunner
from runners.engine import Engine

State = Literal["ready", "loading", "stored", "importing", "importable", "forwarded", "unavailable"]


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory."""

    spec: ModelSpec
    runner: EmbeddingRunner | Reranker
    backend: str
    """Shown by GET /models: `torch float32 on cpu`."""
    stored: StoredModel | None = None
    engine: Engine | None = None
    memory_bytes: int = 0
    """Memory that it takes, estimated or measured."""
    disconnect: Callable[[], Awaitable[None]] | None = None
    """Closes the connections of a forwarded model."""
    dtype: str | None = None
    """Data type of the computation: float32, bfloat16, float16 or int8. None for a forwarded model."""
    weights_dtype: str | None = None
    """Data type of the stored weights."""

    @property
    def name(self) -> str:
        """The short name."""
        return self.spec.name

    def close(self) -> None:
        """Stop its threads and free its memory. Blocks until the current batch is done."""
        if self.engine is not None:
            self.engine.close()


@dataclass(frozen=True)
class Status:
    """A model's state, as shown by GET /models."""

    state: State
    detail: str = ""
    progress: float | None = None
