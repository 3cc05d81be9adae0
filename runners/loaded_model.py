"""A loaded model, and the state of any model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

from errors import ServiceError
from models.catalog import Catalog, ModelSpec
from models.store import StoredModel
from runners.compute import Compute
from runners.contracts import Reranker
from runners.embedding import EmbeddingRunner
from runners.engine import Engine

State = Literal["ready", "loading", "stored", "importing", "importable", "forwarded", "unavailable"]


@dataclass(frozen=True)
class InMemory:
    """The facts about a model in memory."""

    backend: str
    """Shown by GET /models: `torch float32 on cpu`."""
    memory_bytes: int
    dtype: str | None
    weights_dtype: str | None

    def __add__(self, other: InMemory) -> InMemory:
        """The facts about the model on both of two devices."""
        total = self.memory_bytes + other.memory_bytes
        return replace(self, backend=f"{self.backend}, {other.backend}", memory_bytes=total)


class Room(NamedTuple):
    """Where a model stands on a device. The greatest is the best device for it."""

    taken: bool
    """Whether the model is in memory, or on its way there."""
    free_bytes: int
    """Free memory for models."""


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory."""

    spec: ModelSpec
    runner: EmbeddingRunner | Reranker | None
    """None in the engine process, which has no tokenizers."""
    backend: str
    """Shown by GET /models: `torch float32 on cpu`."""
    stored: StoredModel | None = None
    engine: Engine | None = None
    """The tokenizer and the network. None for a forwarded model, and in the engine process."""
    memory_bytes: int = 0
    """Memory that it takes, estimated or measured."""
    disconnect: Callable[[], Awaitable[None]] | None = None
    """Closes the connections of a forwarded model."""
    dtype: str | None = None
    """Data type of the computation: float32, bfloat16, float16 or int8. None for a forwarded model."""
    weights_dtype: str | None = None
    """Data type of the stored weights."""
    compute: Compute | None = None
    """The network, if it is in this process."""

    @property
    def name(self) -> str:
        """The short name."""
        return self.spec.name

    @property
    def in_memory(self) -> InMemory:
        """Its facts."""
        return InMemory(self.backend, self.memory_bytes, self.dtype, self.weights_dtype)

    async def free(self) -> None:
        """Free its memory and close its connections, once the current batch is done."""
        await asyncio.to_thread(self.close)
        if self.disconnect is not None:
            await self.disconnect()

    def close(self) -> None:
        """Stop its threads and free its memory. Blocks until the current batch is done."""
        part = self.engine or self.compute
        if part is not None:
            part.close()

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error` and abandon a stuck pass."""
        part = self.engine or self.compute
        if part is not None:
            part.abort(error)


@dataclass(frozen=True)
class Status:
    """A model's state, as shown by GET /models."""

    state: State
    detail: str = ""
    progress: float | None = None


class Pool(Protocol):
    """The models of the service, in this process or in the engine process."""

    catalog: Catalog

    @property
    def alive(self) -> bool:
        """False if only a restart of the process helps."""
        ...

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        ...

    async def open(self) -> None:
        """Get ready for requests; TimeoutError if the models' process does not start."""
        ...

    def use(self, spec: ModelSpec, *, may_import: bool = True) -> AbstractAsyncContextManager[LoadedModel]:
        """The model, loaded (and imported) if necessary; it is not unloaded while the block runs."""
        ...

    async def load(self, spec: ModelSpec) -> None:
        """Load a model now, even if it has just failed."""
        ...

    async def unload(self, spec: ModelSpec) -> None:
        """Unload a model once its requests are done."""
        ...

    async def import_model(self, spec: ModelSpec) -> None:
        """Import a model without loading it."""
        ...

    async def in_memory(self) -> Mapping[str, InMemory]:
        """The models in memory, by name."""
        ...

    async def statuses(self, specs: Sequence[ModelSpec]) -> Sequence[Status]:
        """The state of each model."""
        ...

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error`."""
        ...

    async def close(self) -> None:
        """Free everything."""
        ...
