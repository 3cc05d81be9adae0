"""A worker's connection to the engine process, which it starts if none is running.

Time limits are `asyncio.timeout`: in Python 3.11, `wait_for` forgets a cancellation in whose turn the result arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from errors import ModelUnavailableError, ServiceError
from runners.contracts import Results, TokenSequences
from runners.remote import peer
from runners.remote.frames import Channel, Kind, Part, pack, pack_job, unpack, unpack_outputs, unpack_rows
from runners.remote.server import EngineInfo, Update

logger = logging.getLogger("service.engine")

START_S = 300.0
"""Time limit for an engine to import its libraries and detect its device."""
SILENCE_S = 30.0
"""Time limit of a ping. An engine that misses two in a row is killed; one may fail if this process was suspended."""
_PING_S = 5.0
_MOST_NUMBERS = 2**32 - 1
_CLOSE_S = 5.0
"""Time limit of a call and of the unsent frames at shutdown."""
_POLL_S = 0.05
_RETRY_S = 2
_PAUSES_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Delay before the next start, by the number of engines in a row that ended before they answered."""


class Link:
    """Calls and jobs to the engine of one device."""

    def __init__(
        self,
        index: int = 0,
        *,
        name: str | None = None,
        start: Callable[[str, int], subprocess.Popen[bytes] | None] = peer.start_engine,
    ) -> None:
        self.info: EngineInfo | None = None
        """The facts about the last engine that answered; None before the first."""
        self.ready = False
        """Whether the engine has loaded the models of PRELOAD_MODELS."""
        self.generation = 0
        """Number of engines lost so far. Model numbers of one engine are invalid with the next."""
        self.on_update: Callable[[Update], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None
        self._name = peer.address(index) if name is None else name
        self._index = index
        self._start_engine = start
        self._channel: Channel | None = None
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._last_number = 0
        self._lost = asyncio.Event()
        self._connected = asyncio.Event()
        self._tokens = 0
        """Tokens of the pending jobs."""
        self._other_tokens = 0
        """Tokens of other workers' jobs, as the engine last said."""
        self._keeper: asyncio.Task[None] | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        """Engines that this worker has started and that may be running."""

    def open(self) -> None:
        """Connect, and reconnect until `close`."""
        self._keeper = asyncio.create_task(self._keep(), name="engine link")

    async def wait_connected(self) -> EngineInfo:
        """Wait for the engine. TimeoutError if none answers."""
        async with asyncio.timeout(START_S):
            await self._connected.wait()
        assert self.info is not None
        return self.info

    async def close(self) -> None:
        """Disconnect. The engine exits after its last worker."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if not await self._answers("shut_down", _CLOSE_S):
            self._kill_engine()
        if self._channel is not None:
            await self._disconnect(self._channel)

    async def _disconnect(self, channel: Channel) -> None:
        channel.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._lost.wait()
        except TimeoutError:  # the engine does not read
            channel.abort()
            await self._lost.wait()

    @property
    def connected(self) -> bool:
        """Whether an engine answers."""
        return self._connected.is_set()

    @property
    def queued_tokens(self) -> int:
        """Tokens that all workers have submitted and that are not computed yet."""
        return self._tokens + self._other_tokens

    @property
    def writable(self) -> bool:
        """False while the socket is full."""
        return self._channel is None or self._channel.writable

    async def wait_writable(self) -> None:
        """Wait until the socket has room again, or the engine has ended."""
        if self._channel is not None:
            await self._channel.wait_writable()

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of EngineServer. ModelUnavailableError if there is no engine, or it ends meanwhile."""
        self.require_engine(self.generation)
        return await self._request(Kind.CALL, pack((method, *arguments)))

    async def submit(self, model: int, sequences: TokenSequences, priority: int) -> tuple[Results, float]:
        """The results of a job and the seconds in forward passes. Cancelling the caller cancels the job.

        `model` is a number of the connected engine. ModelUnavailableError if the engine ends meanwhile.
        """
        tokens = sum(map(len, sequences))
        self._tokens += tokens
        try:
            results: tuple[Results, float] = await self._request(Kind.SUBMIT, pack_job(model, priority, sequences))
        finally:
            self._tokens -= tokens
        return results

    def abort(self, error: ServiceError) -> None:
        """Fail all pending calls and jobs with `error`."""
        pending, self._pending = self._pending, {}
        for number, future in pending.items():
            if self._channel is not None:
                self._channel.send(Kind.CANCEL, number)
            if not future.done():
                future.set_exception(error)

    def require_engine(self, generation: int) -> None:
        """Raise ModelUnavailableError unless the engine of this generation is connected."""
        if not self.connected or generation != self.generation:
            raise restarting()

    async def _request(self, kind: Kind, *parts: Part) -> Any:
        channel = self._channel
        assert channel is not None
        number = self._last_number = self._last_number % _MOST_NUMBERS + 1
        future = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        channel.send(kind, number, *parts)
        try:
            return await future
        finally:
            if self._pending.pop(number, None) is not None:  # the caller was cancelled
                channel.send(Kind.CANCEL, number)

    def _receive(self, kind: int, number: int, body: bytes) -> None:
        if kind == Kind.UPDATE:
            update: Update = unpack(body)
            self.ready, self._other_tokens = update.ready, update.other_tokens
            self.on_update(update)
            return
        future = self._pending.pop(number, None)
        if future is None or future.done():
            return
        if kind == Kind.ROWS:
            future.set_result(unpack_rows(body))
        elif kind == Kind.OUTPUTS:
            future.set_result(unpack_outputs(body))
        elif kind == Kind.RETURN:
            future.set_result(unpack(body))
        else:
            future.set_exception(unpack(body))

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        self._lost.clear()

    def _closed(self, _: Channel) -> None:
        self.ready, self._channel, self._other_tokens = False, None, 0
        self.generation += 1
        self._connected.clear()
        self._lost.set()
        self.on_lost()
        self.abort(restarting())

    async def _keep(self) -> None:
        """Connect, watch the connection until it is lost, and connect again."""
        failures = 0
        while True:
            await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
            running = None
            try:
                running = await self._connect()
                limit_s = START_S if running is None else 2 * SILENCE_S
                async with asyncio.timeout(limit_s):
                    info: EngineInfo = await self._request(Kind.CALL, pack(("info",)))
            except Exception as error:  # retried
                failures += 1
                logger.warning("no engine process answers (%s: %s)", type(error).__name__, error)
                for process in self._started:
                    process.kill()
                if running is not None and isinstance(error, TimeoutError):  # of a worker that has ended
                    _kill(running)
                if self._channel is not None:
                    await self._disconnect(self._channel)
                continue
            failures = 0
            self.info = info
            self.ready = self.ready or info.ready  # an update may have arrived since
            self._connected.set()
            await self._watch()
            logger.error("the engine process (%d) ended", info.process)

    async def _connect(self) -> int | None:
        """Connect; return the process id of an engine that was running before."""
        started = None
        while (sock := peer.connect(self._name)) is None:
            if started is not None:
                raise ConnectionError("it ended at once")
            if (started := self._start_engine(self._name, self._index)) is not None:
                self._started.append(started)
            else:
                await asyncio.sleep(_POLL_S)  # another worker starts it
        running = peer.engine_behind(sock)
        channel = Channel(self._receive, self._closed, lambda _: self._opened(channel))
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
        return running

    async def _watch(self) -> None:
        """Ping the engine until the connection is lost; kill an engine that does not answer."""
        while not self._lost.is_set():
            self._started = [each for each in self._started if each.poll() is None]  # reaps those that ended
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PING_S):
                    await self._lost.wait()
                return
            if not await self._answers("ping", SILENCE_S) and not await self._answers("ping", SILENCE_S):
                self._kill_engine()
                if self._channel is not None:
                    await self._disconnect(self._channel)

    async def _answers(self, method: str, limit_s: float) -> bool:
        """Whether the engine answers a call in time, or there is none."""
        with contextlib.suppress(ServiceError):
            try:
                async with asyncio.timeout(limit_s):
                    await self.call(method)
            except TimeoutError:
                return False
        return True

    def _kill_engine(self) -> None:
        assert self.info is not None
        _kill(self.info.process)


def _kill(engine: int) -> None:
    logger.error("the engine process (%d) does not answer and is killed", engine)
    with contextlib.suppress(ProcessLookupError):
        os.kill(engine, signal.SIGKILL)


def restarting() -> ModelUnavailableError:
    """The error of requests that need an engine while there is none."""
    return ModelUnavailableError(
        "The engine process ended and is being started again. Try again.", retry_after_s=_RETRY_S
    )
