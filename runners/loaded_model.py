"""A model in memory, and what can be said of one that is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from models.catalog import ModelSpec
from models.store import StoredModel
from runners.embedding import EmbeddingRunner
from runners.engine import Engine
from runners.rerank import Reranker

State = Literal["ready", "loading", "stored", "importing", "importable", "forwarded", "unavailable"]


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory."""

    spec: ModelSpec
    runner: EmbeddingRunner | Reranker
    backend: str
    """What runs it, for people: `torch float32 on cpu`."""
    stored: StoredModel | None = None
    engine: Engine | None = None
    memory_bytes: int = 0
    """Bytes that it takes, as far as they can be known."""
    disconnect: Callable[[], Awaitable[None]] | None = None
    """Closes the connections of a forwarded model."""
    dtype: str | None = None
    """In which it computes (float32, bfloat16, float16), as DTYPE says or as `auto` chose; None where forwarded."""
    weights_dtype: str | None = None
    """In which its weights are kept."""

    @property
    def name(self) -> str:
        """The short name."""
        return self.spec.name

    def close(self) -> None:
        """Stop its threads and free its memory; blocks until the current batch is done."""
        if self.engine is not None:
            self.engine.close()


@dataclass(frozen=True)
class Status:
    """What /models says of a model's state."""

    state: State
    detail: str = ""
    progress: float | None = None
