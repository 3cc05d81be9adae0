"""Workers in front of one engine: models are loaded once, jobs share passes, and each side may die."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from errors import CrossSiteError, ModelUnavailableError, OverloadedError, ServiceError
from models.catalog import ModelSpec
from models.store import StoredModel
from runners.contracts import TokenSequence
from runners.devices import Device
from runners.embedding import EmbeddingRunner
from runners.engine import Engine
from runners.loaded_model import LoadedModel, Status
from runners.remote import peer
from runners.remote.frames import Channel
from runners.remote.link import Link
from runners.remote.pool import RemoteCompute, RemotePool
from runners.remote.server import BUSY_S, EngineInfo, EngineServer, ModelDescription
from tests.unit.fakes import Clock, facts, letters, until
from tests.unit.runners.faulty_backend import TOKENS, answer_of, text
from tests.unit.runners.pool.shelf import SPECS, WEIGHT, Shelf

A, B = SPECS[:2]
PROCESS = 2**22 + 1
"""The id of the engines' process: larger than any that Linux gives, because a worker kills one that does not answer."""
DEVICE = Device("cpu", "cpu", "float32", 2)


class Process:
    """An engine process that runs in the event loop of the test."""

    def __init__(self, shelf: Shelf, listener: socket.socket, devices: int, clock: Clock) -> None:
        self.shelf = shelf
        self.server = EngineServer(shelf.pool, DEVICE, PROCESS, devices=devices, clock=clock)
        self.listening: asyncio.Server | None = None
        self.ended = False
        self._starting = asyncio.create_task(self._start(listener))

    async def _start(self, listener: socket.socket) -> None:
        self.listening = await self.server.listen(listener)
        self.server.set_ready()

    def poll(self) -> int | None:
        return 0 if self.ended else None

    def kill(self) -> None:
        self.ended = True
        if self.listening is not None:
            self.listening.close()
        for connection in list(self.server._connections):
            connection.channel.abort()
        self.shelf.release()


class Workplace:
    """Workers and the engines that they start."""

    def __init__(self) -> None:
        self.name = f"\0rerank-embedding-test-{os.getpid()}-{os.urandom(4).hex()}"
        self.rooms: tuple[int, ...] = (2,)
        """How many models fit on each device."""
        self.clock = Clock()
        """The engines' clock."""
        self.engines: list[Process] = []
        self.workers: list[RemotePool] = []
        self.built: list[LoadedModel] = []

    def start(self, name: str, index: int) -> Any:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen()
        listener.setblocking(False)
        self.engines.append(Process(Shelf(self.rooms[index]), listener, len(self.rooms), self.clock))
        return self.engines[-1]

    def build(self, spec: ModelSpec, description: ModelDescription, compute: RemoteCompute) -> LoadedModel:
        engine = Engine(letters(), compute, spec.name)
        self.built.append(LoadedModel(spec, EmbeddingRunner(engine, 3), "fake", description.stored, engine))
        return self.built[-1]

    async def worker(self) -> RemotePool:
        pool = RemotePool(Shelf(1).pool.catalog, self.build, link_to=self.link_to)
        self.workers.append(pool)
        await pool.open()
        await until(lambda: pool.ready)
        return pool

    def link_to(self, index: int) -> Link:
        return Link(index, name=f"{self.name}-{index}", start=self.start)

    @property
    def shelf(self) -> Shelf:
        """What the current engine has loaded."""
        return self.engines[-1].shelf

    async def close(self) -> None:
        for worker in self.workers:
            await worker.close()
        for engine in self.engines:
            engine.kill()
            await engine.shelf.pool.close()


@pytest.fixture
async def place() -> AsyncIterator[Workplace]:
    workplace = Workplace()
    yield workplace
    await workplace.close()


async def ask(pool: RemotePool, number: int, spec: ModelSpec = A) -> list[float]:
    """One request; the answer is checked."""
    async with pool.use(spec) as model:
        assert model.engine is not None
        rows = await model.engine.run([text(number)])
    assert rows.tolist() == [answer_of(number)]
    answer: list[float] = rows.tolist()[0]
    return answer


async def test_models_are_loaded_once_for_all_workers(place: Workplace) -> None:
    workers = [await place.worker() for _ in range(3)]
    await asyncio.gather(*(ask(worker, number) for worker in workers for number in range(1, 40)))
    assert len(place.engines) == 1
    assert place.shelf.loads == {A.name: 1}
    assert len(place.built) == 3  # a tokenizer in each worker
    for worker in workers:
        assert worker.device() == DEVICE
        assert [*await worker.in_memory()] == [A.name]
        assert (await worker.in_memory())[A.name].memory_bytes == WEIGHT
        assert await worker.statuses([A, B]) == [Status("ready"), Status("stored")]


async def test_jobs_of_all_workers_share_passes(place: Workplace) -> None:
    workers = [await place.worker() for _ in range(4)]
    await ask(workers[0], 1)
    backend = place.shelf.backends[A.name]
    backend.hang()
    first = asyncio.create_task(ask(workers[0], 1))
    await backend.hanging()
    rest = [asyncio.create_task(ask(worker, number)) for number, worker in enumerate(workers, 2)]
    await until(lambda: queued(place) == len(rest) * TOKENS)
    backend.release()
    await asyncio.gather(first, *rest)
    assert backend.sizes_tokens[-1] == len(rest) * TOKENS


def queued(place: Workplace, shelf: Shelf | None = None) -> int:
    (model,) = (shelf or place.shelf).pool.loaded()
    assert model.compute is not None
    return model.compute.queued_tokens


async def blocked(place: Workplace, worker: RemotePool, shelf: Shelf | None = None) -> Callable[[], None]:
    """Hang a pass of the engine; what is sent from now on waits in its queue."""
    await ask(worker, 1)
    backend = (shelf or place.shelf).backends[A.name]
    backend.hang()
    asyncio.create_task(outcome(ask(worker, 1))).add_done_callback(lambda _: None)
    await backend.hanging()
    return backend.release


async def outcome(work: Any) -> Any:
    """The result, or the error of the service."""
    try:
        return await work
    except ServiceError as error:
        return error


async def test_a_caller_that_leaves_takes_its_job_along(place: Workplace) -> None:
    worker = await place.worker()
    release = await blocked(place, worker)
    waiting = asyncio.create_task(ask(worker, 2))
    await until(lambda: queued(place) == TOKENS)
    waiting.cancel()
    await until(lambda: queued(place) == 0)
    release()
    await ask(worker, 3)
    assert 2 not in place.shelf.backends[A.name].seen


async def test_a_lost_worker_takes_its_jobs_along(place: Workplace) -> None:
    worker, other = [await place.worker() for _ in range(2)]
    release = await blocked(place, other)
    waiting = [asyncio.create_task(outcome(ask(worker, number))) for number in (2, 3, 4)]
    kept = asyncio.create_task(ask(other, 5))
    await until(lambda: queued(place) == 4 * TOKENS)
    await worker.close()
    await until(lambda: queued(place) == TOKENS)
    release()
    await kept
    assert all(isinstance(each, ModelUnavailableError) for each in await asyncio.gather(*waiting))
    assert place.engines[0].server.workers == 1


async def run(pool: RemotePool, sequences: Sequence[TokenSequence]) -> list[list[float]]:
    """One request of several texts."""
    async with pool.use(A) as model:
        assert model.engine is not None
        rows: list[list[float]] = (await model.engine.run(sequences)).tolist()
    return rows


def transport_of(channel: Channel) -> asyncio.Transport:
    """The transport, which a test pauses."""
    return cast("asyncio.Transport", channel._transport)


async def test_a_full_socket_holds_jobs_back(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.remote.frames.HIGH_WATER_BYTES", 2**16)
    worker = await place.worker()
    await ask(worker, 1)
    (connection,) = place.engines[0].server._connections
    transport_of(connection.channel).pause_reading()
    other = await place.worker()
    large = TokenSequence([2] * 2**15)
    waiting = [asyncio.create_task(run(worker, [large])) for _ in range(12)]
    await until(lambda: not worker._links[0].writable)
    late, left = asyncio.create_task(ask(worker, 3)), asyncio.create_task(ask(worker, 4))
    await ask(other, 5)
    left.cancel()
    assert not late.done()
    transport_of(connection.channel).resume_reading()
    await late
    assert await asyncio.gather(*waiting) == [[[2.0, len(large), 1.0]]] * len(waiting)
    assert 4 not in place.shelf.backends[A.name].seen  # it was not sent


async def test_a_worker_that_stops_reading_delays_only_itself(place: Workplace) -> None:
    worker, other = [await place.worker() for _ in range(2)]
    await ask(worker, 1)
    channel = worker._links[0]._channel
    assert channel is not None
    transport_of(channel).pause_reading()
    many = [TokenSequence([number]) for number in range(1, 4097)]
    waiting = [asyncio.create_task(run(worker, many)) for _ in range(10)]  # their rows do not fit the socket
    await until(lambda: place.shelf.backends[A.name].seen.count(4096) == len(waiting))
    for number in range(2, 50):
        await ask(other, number)
    assert not any(each.done() for each in waiting)
    transport_of(channel).resume_reading()
    for rows in await asyncio.gather(*waiting):
        assert [row[0] for row in rows] == list(range(1, 4097))


async def test_a_job_waits_for_a_model_that_is_being_unloaded(place: Workplace) -> None:
    worker = await place.worker()
    release = await blocked(place, worker)
    shelf, unloading = place.shelf, asyncio.create_task(worker.unload(A))
    await until(lambda: shelf.pool._entries[A.name].draining is not None)
    waiting = asyncio.create_task(ask(worker, 2))
    await worker.in_memory()  # the job has arrived before this call
    release()
    await asyncio.gather(unloading, waiting)
    assert shelf.loads == {A.name: 2}


async def test_the_engine_dies_and_comes_back(place: Workplace) -> None:
    workers = [await place.worker() for _ in range(2)]
    await blocked(place, workers[0])
    waiting = [asyncio.create_task(outcome(ask(worker, number))) for worker in workers for number in (2, 3)]
    await until(lambda: queued(place) == len(waiting) * TOKENS)
    place.engines[0].kill()
    for error in await asyncio.gather(*waiting):
        assert isinstance(error, ModelUnavailableError)
        assert error.retry_after_s
    error = await outcome(ask(workers[0], 4))
    assert isinstance(error, ModelUnavailableError)  # at once: nobody waits for an engine that starts
    assert not workers[0].ready
    await until(lambda: all(worker.ready for worker in workers))
    for number, worker in enumerate(workers, 5):
        await ask(worker, number)
    assert len(place.engines) == 2
    assert place.shelf.loads == {A.name: 1}
    assert len(place.built) == 2  # tokenizers survive the engine


async def test_an_engine_that_does_not_answer_is_killed(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.remote.link._PING_S", 0.001)
    monkeypatch.setattr("runners.remote.link.SILENCE_S", 0.001)
    killed: list[int] = []

    def kill(process: int, _: int) -> None:
        killed.append(process)
        monkeypatch.setattr("runners.remote.link.SILENCE_S", 3600)
        monkeypatch.setattr(EngineServer, "ping", ping)
        place.engines[0].kill()

    async def hang(_: EngineServer) -> None:
        await asyncio.Event().wait()

    ping = EngineServer.ping
    monkeypatch.setattr(EngineServer, "ping", hang)
    monkeypatch.setattr(os, "kill", kill)
    worker = await place.worker()
    await until(lambda: len(place.engines) == 2 and worker.ready)
    await ask(worker, 1)
    assert killed == [PROCESS]


STUCK = """
import socket, sys, time
listener = socket.socket(fileno=int(sys.argv[1]))
listener.listen()
print("listening", flush=True)
time.sleep(3600)
"""
"""An engine that listens and hangs."""


async def test_an_engine_that_hung_before_its_worker_ended_is_killed(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.remote.link.SILENCE_S", 0.001)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place.name}-0")
        descriptor = listener.fileno()
        command = (sys.executable, "-c", STUCK, str(descriptor), peer.ENGINE)
        engine = await asyncio.create_subprocess_exec(*command, pass_fds=[descriptor], stdout=asyncio.subprocess.PIPE)
        assert engine.stdout is not None
        assert await engine.stdout.readline() == b"listening\n"
    opening = asyncio.create_task(place.worker())
    assert await engine.wait() == -signal.SIGKILL
    monkeypatch.setattr("runners.remote.link.SILENCE_S", 3600)
    await ask(await opening, 1)


async def test_an_engine_that_does_not_answer_at_shutdown_is_killed(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: EngineServer) -> None:
        await asyncio.Event().wait()

    killed: list[int] = []
    monkeypatch.setattr("runners.remote.link._CLOSE_S", 0.001)
    monkeypatch.setattr(EngineServer, "shut_down", hang)
    monkeypatch.setattr(os, "kill", lambda process, _: killed.append(process))
    await (await place.worker()).close()
    assert killed == [PROCESS]


async def test_closing_in_the_turn_in_which_a_ping_is_answered(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the link would be kept, and the shutdown would wait for ever."""
    asked, answered = asyncio.Event(), asyncio.Event()
    call = Link.call

    async def wait(link: Link, method: str, *arguments: Any) -> Any:
        if method != "ping":
            return await call(link, method, *arguments)
        asked.set()
        return await answered.wait()

    monkeypatch.setattr("runners.remote.link._PING_S", 0.001)
    monkeypatch.setattr(Link, "call", wait)
    worker = await place.worker()
    await asked.wait()
    answered.set()
    await worker.close()


async def test_one_missed_ping_is_forgiven(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker may have been suspended itself."""
    monkeypatch.setattr("runners.remote.link._PING_S", 0.001)
    monkeypatch.setattr("runners.remote.link.SILENCE_S", 0.001)
    pings: list[EngineServer] = []

    async def answer_the_second(server: EngineServer) -> None:
        pings.append(server)
        if len(pings) == 1:
            monkeypatch.setattr("runners.remote.link.SILENCE_S", 3600)
            await asyncio.Event().wait()

    monkeypatch.setattr(EngineServer, "ping", answer_the_second)
    monkeypatch.setattr(os, "kill", pytest.fail)
    worker = await place.worker()
    await until(lambda: len(pings) > 3)
    await ask(worker, 1)
    assert len(place.engines) == 1


async def test_what_a_dead_engine_lent_is_not_used_with_the_next(place: Workplace) -> None:
    """Its numbers stand for other models."""
    worker = await place.worker()
    async with worker.use(A) as model:
        assert model.engine is not None
        place.engines[0].kill()
        await until(lambda: len(place.engines) == 2 and worker.ready)
        await ask(worker, 1, B)
        with pytest.raises(ModelUnavailableError):
            await model.engine.run([text(2)])
    await ask(worker, 3)


@pytest.mark.parametrize("answers_connections", [False, True])
async def test_an_engine_that_ends_before_it_answers_is_started_again(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, answers_connections: bool
) -> None:
    monkeypatch.setattr("runners.remote.link._PAUSES_S", (0.0,))
    start, failed = place.start, [False] * 3

    def start_badly(name: str, index: int) -> Any:
        if not failed:
            return start(name, index)
        failed.pop()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen()
        if answers_connections:
            asyncio.get_running_loop().call_soon(listener.close)
        else:
            listener.close()
        return SimpleNamespace(poll=lambda: 1, kill=lambda: None)

    monkeypatch.setattr(place, "start", start_badly)
    await ask(await place.worker(), 1)
    assert (len(place.engines), failed) == (1, [])


async def test_an_engine_that_gets_ready_while_it_answers(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    async def info(server: EngineServer) -> EngineInfo:
        asyncio.get_running_loop().call_soon(server.set_ready)  # both frames arrive together
        return EngineInfo(PROCESS, DEVICE, 1, ready=False)

    monkeypatch.setattr(EngineServer, "info", info)
    assert (await place.worker()).ready


async def test_errors_are_those_of_the_engine(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await place.worker()
    await ask(worker, 1)
    backend = place.shelf.backends[A.name]
    backend.poison[2] = OverloadedError("full", retry_after_s=7)
    error = await outcome(ask(worker, 2))
    assert isinstance(error, OverloadedError)
    assert (error.message, error.retry_after_s) == ("full", 7)
    backend.poison[3] = ValueError("a text of a user")
    error = await outcome(ask(worker, 3))
    assert (error.status, "a text of a user" in error.message) == (500, False)

    async def forbid(*_: Any) -> None:
        raise CrossSiteError("not from there")

    monkeypatch.setattr(place.shelf.pool._import_on_demand, "forbid_start", forbid)
    with pytest.raises(CrossSiteError):
        async with worker.use(B, may_import=False):
            pass


async def test_an_unloaded_model_is_forgotten_and_loaded_again(place: Workplace) -> None:
    workers = [await place.worker() for _ in range(2)]
    for worker in workers:
        await ask(worker, 1)
    await workers[0].unload(A)
    await until(lambda: not any(worker._entries for worker in workers))
    assert await workers[1].statuses([A]) == [Status("stored")]
    await ask(workers[1], 2)
    assert place.shelf.loads == {A.name: 2}
    assert len(place.built) == 3


async def test_a_job_loads_a_model_that_was_evicted(place: Workplace) -> None:
    worker = await place.worker()
    async with worker.use(A) as model:
        assert model.engine is not None
        for spec in SPECS[1:4]:  # there is room for two
            await ask(worker, 1, spec)
        assert A.name not in place.shelf.names
        rows = await model.engine.run([text(2)])
    assert rows.tolist() == [answer_of(2)]


async def test_sequences_for_another_import_are_refused(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens may mean something else."""
    worker = await place.worker()
    async with worker.use(A) as model:
        assert model.engine is not None
        await place.shelf.pool.unload(A)
        other = StoredModel(A.repo, Path("/elsewhere"), facts(repo=A.repo))
        monkeypatch.setattr(place.shelf, "find", lambda _: other)
        with pytest.raises(ModelUnavailableError, match="imported again") as raised:
            await model.engine.run([text(2)])
        assert raised.value.retry_after_s
    place.engines[0].server.report_unloaded()
    await until(lambda: not worker._entries)
    await ask(worker, 3)


async def test_abort_answers_everyone(place: Workplace) -> None:
    worker = await place.worker()
    await blocked(place, worker)
    waiting = [asyncio.create_task(outcome(ask(worker, number))) for number in (2, 3)]
    await until(lambda: queued(place) == 2 * TOKENS)
    error = ModelUnavailableError("going down")
    worker.abort(error)
    assert await asyncio.gather(*waiting) == [error, error]
    await until(lambda: queued(place) == 0)


@pytest.fixture
async def two(place: Workplace) -> Workplace:
    """A place with two devices, of which the first has more memory."""
    place.rooms = (3, 2)
    return place


def shelves(place: Workplace) -> list[list[str]]:
    """The models in memory, by device."""
    return [engine.shelf.names for engine in place.engines]


async def test_models_are_loaded_where_memory_is_free(two: Workplace) -> None:
    workers = [await two.worker() for _ in range(2)]
    for number, spec in enumerate(SPECS[:5]):
        await ask(workers[number % 2], 1, spec)
    names = [spec.name for spec in SPECS]
    assert shelves(two) == [[names[0], names[1], names[3]], [names[2], names[4]]]
    for worker in workers:
        for spec in SPECS[:5]:
            await ask(worker, 2, spec)
        assert sorted(await worker.in_memory()) == names[:5]
        assert await worker.statuses(SPECS[:6]) == [*[Status("ready")] * 5, Status("stored")]
    assert [sum(engine.shelf.loads.values()) for engine in two.engines] == [3, 2]


async def copied(place: Workplace, workers: Sequence[RemotePool]) -> tuple[list[asyncio.Task[Any]], Callable[[], None]]:
    """Keep a model busy until it is on both devices; its waiting requests, and what ends the hanging pass."""
    first = place.engines[0]
    release = await blocked(place, workers[0], first.shelf)
    waiting = [asyncio.create_task(ask(workers[0], number)) for number in range(2, 30)]
    await until(lambda: queued(place, first.shelf) == len(waiting) * TOKENS)
    first.server.report_load()
    await until(lambda: workers[1]._links[0].queued_tokens == (len(waiting) + 1) * TOKENS)
    assert shelves(place)[1] == []  # the queue may be short-lived
    place.clock.now += BUSY_S
    first.server.report_load()
    await until(lambda: shelves(place)[1] == [A.name])
    await until(lambda: all(len(worker._entries[A.name].compute.numbers) == 2 for worker in workers))
    return waiting, release


async def test_a_busy_model_is_copied_and_jobs_go_where_fewer_wait(two: Workplace) -> None:
    workers = [await two.worker() for _ in range(2)]
    await ask(workers[1], 1)
    waiting, release = await copied(two, workers)
    for worker in workers:
        await ask(worker, 30)  # although the first device computes nothing
        assert (await worker.in_memory())[A.name].memory_bytes == 2 * WEIGHT
    release()
    await asyncio.gather(*waiting)
    assert [engine.shelf.loads for engine in two.engines] == [{A.name: 1}, {A.name: 1}]
    two.engines[0].server.report_load()
    await until(lambda: not any(link.queued_tokens for worker in workers for link in worker._links))


async def test_a_busy_model_is_not_copied_where_others_would_be_unloaded(two: Workplace) -> None:
    two.rooms = (1, 1)
    worker = await two.worker()
    await ask(worker, 1, A)
    await ask(worker, 1, B)
    first = two.engines[0]
    release = await blocked(two, worker, first.shelf)
    waiting = [asyncio.create_task(ask(worker, number)) for number in range(2, 30)]
    await until(lambda: queued(two, first.shelf) == len(waiting) * TOKENS)
    for _ in range(3):
        first.server.report_load()
        two.clock.now += BUSY_S
        await worker.in_memory()  # the report is read before this answer
        await until(lambda: not worker._copying)
    release()
    await asyncio.gather(*waiting)
    assert shelves(two) == [[A.name], [B.name]]


async def test_a_model_is_served_where_it_still_is(two: Workplace) -> None:
    workers = [await two.worker() for _ in range(2)]
    await ask(workers[1], 1)
    waiting, release = await copied(two, workers)
    two.engines[0].kill()
    release()
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, ModelUnavailableError | list)
    for worker in workers:
        assert worker.ready
        await ask(worker, 30)
        await worker.unload(A)
        await ask(worker, 31)


async def test_unloading_frees_a_model_on_all_devices(two: Workplace) -> None:
    workers = [await two.worker() for _ in range(2)]
    await ask(workers[1], 1)
    waiting, release = await copied(two, workers)
    release()
    await asyncio.gather(*waiting)
    await workers[0].unload(A)
    assert shelves(two) == [[], []]
    await until(lambda: not any(worker._entries for worker in workers))


async def test_a_large_job(place: Workplace) -> None:
    worker = await place.worker()
    rows = await run(worker, [TokenSequence([number] * 8) for number in range(1, 2049)])
    assert [row[0] for row in rows] == list(range(1, 2049))
