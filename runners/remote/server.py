"""The server in the engine process: workers call the pool and submit jobs, which are batched across workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket

from errors import InternalError, ModelUnavailableError, ServiceError
from models.catalog import ModelSpec
from models.store import StoredModel
from runners.batching.queue import Clock, Job
from runners.compute import Compute
from runners.contracts import Results, TokenSequences
from runners.devices import Device
from runners.loaded_model import InMemory, LoadedModel, Room, Status
from runners.pool.model_pool import ModelPool
from runners.remote import peer
from runners.remote.frames import Channel, Kind, Part, pack, pack_outputs, pack_rows, unpack, unpack_job

logger = logging.getLogger("service.engine")

BUSY_S = 3.0
"""Time that a model's queue must exceed a full pass before the model is loaded on another device."""


@dataclass(frozen=True)
class EngineInfo:
    """The facts that a worker reads when it connects."""

    process: int
    device: Device
    devices: int
    """Number of devices, each with an engine."""
    ready: bool


@dataclass(frozen=True)
class ModelDescription:
    """A loaded model: what a worker needs for tokenization and jobs."""

    number: int
    """Its number in jobs; 0 for a forwarded model, which workers call directly."""
    stored: StoredModel | None
    memory: InMemory


@dataclass(frozen=True)
class Update:
    """The state of the engine, sent to a worker when it changes."""

    ready: bool
    other_tokens: int
    """Tokens of other workers' jobs that are not computed yet."""
    unloaded: tuple[int, ...] = ()
    """Numbers of models that are no longer in memory."""
    busy: tuple[int, ...] = ()
    """Numbers of models that should be loaded on another device, too."""


class EngineServer:
    """Serves the pool of one device to all workers."""

    def __init__(
        self, pool: ModelPool, device: Device, process: int, *, devices: int = 1, clock: Clock = time.monotonic
    ) -> None:
        self.pool = pool
        self.ready = False
        self.shutting_down = False
        """Whether the service is shutting down."""
        self._device = device
        self._process = process
        self._devices = devices
        self._clock = clock
        self._connections: set[_Connection] = set()
        self._numbers: dict[tuple[str, Path], int] = {}
        self._models: list[tuple[ModelSpec, Path]] = []
        """By number, which starts at 1, for the life of this process."""
        self._described: set[int] = set()
        self._reported_tokens = 0
        self._queued_since: dict[int, float] = {}
        """Number of each model whose queue exceeds a full pass -> when that began, or was last reported."""

    @property
    def workers(self) -> int:
        """Number of connected workers."""
        return len(self._connections)

    async def listen(self, listener: socket) -> asyncio.Server:
        """Accept workers."""
        loop = asyncio.get_running_loop()
        return await loop.create_unix_server(lambda: _Connection(self, self._connections).channel, sock=listener)

    def set_ready(self) -> None:
        """Report that the models of PRELOAD_MODELS are loaded."""
        self.ready = True
        self._tell()

    def report_unloaded(self) -> None:
        """Report models that are no longer in memory, so that workers free their tokenizers."""
        if gone := self._described.difference(self._loaded()):
            self._described -= gone
            self._tell(unloaded=tuple(gone))

    def report_load(self) -> None:
        """Report how busy this device is, so that workers choose between several."""
        tokens = self._tokens()
        busy = self._busy()
        if busy or tokens != self._reported_tokens:
            self._reported_tokens = tokens
            self._tell(busy=busy)

    def _tell(self, *, unloaded: tuple[int, ...] = (), busy: tuple[int, ...] = ()) -> None:
        tokens = self._tokens()
        for each in self._connections:
            each.channel.send(Kind.UPDATE, 0, pack(Update(self.ready, tokens - each.tokens, unloaded, busy)))

    def _tokens(self) -> int:
        return sum(each.tokens for each in self._connections)

    def _busy(self) -> tuple[int, ...]:
        """Numbers of the models whose queue has exceeded a full pass for BUSY_S, each once in BUSY_S."""
        now, queued_since = self._clock(), self._queued_since
        loaded = self._loaded()
        long = [number for number, compute in loaded.items() if compute.queued_tokens > compute.max_batch_tokens]
        busy = tuple(number for number in long if now - queued_since.get(number, now) >= BUSY_S)
        self._queued_since = {number: now if number in busy else queued_since.get(number, now) for number in long}
        return busy

    def _loaded(self) -> dict[int, Compute]:
        """The models in memory, by number."""
        return {
            self._number(model.spec, model.stored): model.compute
            for model in self.pool.loaded()
            if model.stored is not None and model.compute is not None
        }

    def _number(self, spec: ModelSpec, stored: StoredModel) -> int:
        key = (spec.name, stored.folder)
        if key not in self._numbers:
            self._models.append((spec, stored.folder))
            self._numbers[key] = len(self._models)
        return self._numbers[key]

    # Methods that workers call

    async def info(self) -> EngineInfo:
        """The first call of a worker."""
        return EngineInfo(self._process, self._device, self._devices, self.ready)

    async def ping(self) -> None:
        """Answer, which shows that the event loop is running."""

    async def shut_down(self) -> None:
        """Exit after the last worker, without waiting for a new one."""
        self.shutting_down = True

    async def room(self, name: str) -> Room:
        """Where a model stands on this device."""
        return self.pool.room(self.pool.catalog.get_or_unlisted(name))

    async def describe(self, name: str, may_import: bool) -> ModelDescription:
        """Load a model, and return what a worker needs."""
        async with self.pool.use(self.pool.catalog.get(name), may_import=may_import) as model:
            if model.stored is None:
                return ModelDescription(0, None, model.in_memory)
            number = self._number(model.spec, model.stored)
            self._described.add(number)
            return ModelDescription(number, model.stored, model.in_memory)

    async def load(self, name: str) -> None:
        """Load a model now, even if it has just failed."""
        await self.pool.load(self.pool.catalog.get(name))

    async def unload(self, name: str) -> None:
        """Unload a model once its jobs are done."""
        await self.pool.unload(self.pool.catalog.get(name))
        self.report_unloaded()

    async def import_model(self, name: str) -> None:
        """Import a model into the store."""
        await self.pool.import_model(self.pool.catalog.get_or_unlisted(name))

    async def in_memory(self) -> dict[str, InMemory]:
        """The models in memory."""
        return await self.pool.in_memory()

    async def statuses(self, names: list[str]) -> list[Status]:
        """The state of models."""
        return await self.pool.statuses([self.pool.catalog.get(name) for name in names])

    # Jobs

    def model(self, number: int) -> tuple[ModelSpec, Path]:
        """The model with this number, and its folder."""
        return self._models[number - 1]


class _Connection:
    """The connection of one worker. Its calls and jobs are cancelled when it closes."""

    def __init__(self, server: EngineServer, connections: set[_Connection]) -> None:
        self.channel = Channel(self._receive, self._closed, self._opened)
        self.tokens = 0
        """Tokens of its jobs that are not computed yet."""
        self._server = server
        self._connections = connections
        self._pending: dict[int, asyncio.Future[None] | asyncio.Future[Results]] = {}
        """The task of each call, and the future of each job; a task while its model is being loaded."""

    def _opened(self, sock: socket) -> None:
        peer.check(sock)
        self._server.shutting_down = False
        self._connections.add(self)

    def _closed(self, _: Channel) -> None:
        self._connections.discard(self)
        for pending in self._pending.values():
            pending.cancel()

    def _receive(self, kind: int, number: int, body: bytes) -> None:
        if kind == Kind.SUBMIT:
            model, priority, sequences = unpack_job(body)
            self._submit(number, model, priority, sequences)
        elif kind == Kind.CALL:
            self._pending[number] = asyncio.create_task(self._call(number, body))
        elif (pending := self._pending.pop(number, None)) is not None:
            pending.cancel()

    async def _call(self, number: int, body: bytes) -> None:
        """Call a method of the server, and send its result."""
        method, *arguments = unpack(body)
        try:
            result = await getattr(self._server, method)(*arguments)
        except Exception as error:
            self._raise(number, error)
        else:
            self._end(number, Kind.RETURN, pack(result))

    def _submit(self, number: int, model: int, priority: int, sequences: TokenSequences) -> None:
        """Queue a job; its callback sends the rows. Only a job that must wait for its model needs a task."""
        spec, folder = self._server.model(model)
        borrowed = self._server.pool.borrow(spec)
        if borrowed is None:
            self._pending[number] = asyncio.create_task(self._load(number, model, priority, sequences))
            return
        loaded, give_back = borrowed
        try:
            compute = _compute_of(loaded, folder)
            job = compute.start(sequences, priority)
        except Exception as error:
            give_back()
            self._raise(number, error)
            return
        self.tokens += job.tokens
        self._pending[number] = job.future
        job.future.add_done_callback(partial(self._computed, number, job, compute, give_back))

    async def _load(self, number: int, model: int, priority: int, sequences: TokenSequences) -> None:
        """Load the model of a job, and queue the job."""
        spec, _ = self._server.model(model)
        try:
            async with self._server.pool.use(spec):
                self._submit(number, model, priority, sequences)
        except Exception as error:
            self._raise(number, error)

    def _computed(
        self, number: int, job: Job, compute: Compute, give_back: Callable[[], None], future: asyncio.Future[Results]
    ) -> None:
        self.tokens -= job.tokens
        if future.cancelled():
            compute.abandon(job)
        elif (error := future.exception()) is not None:
            self._raise(number, error)
        else:
            results = future.result()
            if isinstance(results, list):
                self._end(number, Kind.OUTPUTS, *pack_outputs(results, job.compute_s))
            else:
                self._end(number, Kind.ROWS, *pack_rows(results, job.compute_s))
        give_back()

    def _raise(self, number: int, error: BaseException) -> None:
        """Send an error. Only a ServiceError is for clients."""
        if not isinstance(error, ServiceError):
            logger.error("the engine process failed", exc_info=error)
            error = InternalError(f"The computation failed ({type(error).__name__}); see the service log.")
        self._end(number, Kind.RAISE, pack(error))

    def _end(self, number: int, kind: Kind, *parts: Part) -> None:
        self._pending.pop(number, None)
        self.channel.send(kind, number, *parts)


def _compute_of(loaded: LoadedModel, folder: Path) -> Compute:
    """The network of a model, unless other files than those in `folder` were loaded."""
    if loaded.stored is None or loaded.stored.folder != folder or loaded.compute is None:
        raise ModelUnavailableError(f"{loaded.name} was imported again. Try again.", retry_after_s=1)
    return loaded.compute
