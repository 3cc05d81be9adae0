"""Two workers in front of one engine process: models are in memory once, and the engine may end at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest
from numpy.testing import assert_allclose

from tests.conftest import MODEL
from tests.e2e.conftest import SETTINGS
from tests.errors import message_of
from tests.serving import Served, copy_home, http_get, http_post, serve, until
from tests.tolerance import openvino_precision, shared_pass_atol

ATOL = shared_pass_atol(openvino_precision())
CLIENTS = 8
ASKED = 16
"""Times that a question is put, each over a connection of its own, so that each worker is asked."""


@pytest.fixture(scope="module")
def server(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = copy_home(imported, tmp_path_factory.mktemp("workers"))
    with serve(home, **SETTINGS, WORKERS="2", ADMIN="true") as server:
        until(lambda: server.log.count("Completed async startup hook") == 2, what="the second worker")
        yield server


def engines(server: Served) -> list[psutil.Process]:
    """The engine processes, which are children of the workers that started them."""
    return [
        child
        for child in server.supervisor.children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "engine_process" in child.cmdline()
    ]


def embed(server: Served, text: str = "one short text") -> Any:
    """The status and the vector of one text; None where the connection ended without an answer."""
    try:
        response = http_post(f"{server.url}/v1/embeddings", json={"input": text}, timeout=300)
    except (httpx.NetworkError, httpx.ProtocolError):  # and no timeout
        return None, None
    if response.status_code != 200:
        message_of(response.json())
        assert response.headers["retry-after"]
        return response.status_code, None
    return 200, response.json()["data"][0]["embedding"]


def states(server: Served) -> Counter[str]:
    """What the workers say about the model."""
    answers = [http_get(f"{server.url}/models", timeout=300).json()["models"] for _ in range(ASKED)]
    return Counter(model["state"] for models in answers for model in models if model["id"] == MODEL)


def loads(server: Served) -> float:
    """How often the model was loaded, in all processes."""
    wanted = f'service_model_loads_total{{model="{MODEL}",outcome="loaded"}}'
    lines = http_get(f"{server.url}/metrics", timeout=300).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(wanted))


def maps_weights(process: psutil.Process) -> bool:
    """Whether a process has files of weights in memory."""
    return any(Path(each.path).suffix in (".bin", ".safetensors") for each in process.memory_maps())


def test_a_model_is_in_memory_once(server: Served) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: embed(server), range(64)))
    assert {status for status, _ in answers} == {200}
    assert_allclose([vector for _, vector in answers], [answers[0][1]] * 64, atol=ATOL)
    assert loads(server) == 1
    (engine,) = engines(server)
    assert maps_weights(engine)
    assert [maps_weights(worker) for worker in server.workers()] == [False, False]


def test_all_workers_say_the_same(server: Served) -> None:
    assert states(server) == {"ready": ASKED}
    before = loads(server)
    assert http_post(f"{server.url}/models/{MODEL}/unload", timeout=300).json()["state"] == "stored"
    assert states(server) == {"stored": ASKED}
    assert embed(server)[0] == 200
    assert states(server) == {"ready": ASKED}
    assert loads(server) == before + 1


def test_the_engine_is_killed_under_load(server: Served) -> None:
    workers, (_, expected) = server.workers(), embed(server)
    stop = Event()

    def client(_: int) -> Counter[int]:
        ended: Counter[int] = Counter()
        while not stop.is_set():
            ended[embed(server)[0]] += 1
        return ended

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        for _ in range(3):
            (engine,) = engines(server)
            engine.kill()
            until(lambda old=engine: engines(server) not in ([], [old]), what="the next engine")  # type: ignore[misc]
            until(lambda: http_get(f"{server.url}/readyz", timeout=300).status_code == 200, what="200 from /readyz")
        stop.set()
        ended = sum((each.result() for each in clients), Counter[int]())
    assert set(ended) == {200, 503}
    status, vector = embed(server)
    assert status == 200
    assert_allclose(vector, expected, atol=ATOL)
    assert server.workers() == workers


def test_the_engine_ends_after_the_workers(imported: Path, tmp_path: Path) -> None:
    with serve(copy_home(imported, tmp_path), **SETTINGS, WORKERS="2") as server, ThreadPoolExecutor(CLIENTS) as pool:
        family = [*server.workers(), *engines(server)]
        waiting = [pool.submit(embed, server, f"number {number} " * 200) for number in range(CLIENTS)]
        until(lambda: any(each.done() for each in waiting), what="the first answer")
        for process in family:
            process.terminate()
        server.terminate()
        assert {each.result()[0] for each in waiting} <= {200, 503, None}
        _, alive = psutil.wait_procs([server.supervisor, *family], timeout=300)
        assert not alive
        assert "Traceback" not in server.log, server.log
