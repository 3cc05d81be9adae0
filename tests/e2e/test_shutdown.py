"""Replacing a process: behind a proxy nobody notices, and who waits for a process that goes down is told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.e2e.conftest import SETTINGS
from tests.e2e.test_lifecycle import computing, long_request
from tests.errors import refused
from tests.serving import InProcess, Served, copy_home, serve, until

CLIENTS = 4
PRE_STOP_S = 5
"""Between the last request that is sent to a process and its SIGTERM, as preStop does in deploy/kubernetes."""


class Proxy:
    """Sends each request to the one process that it was told of last, over a connection of its own."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.app = Starlette(routes=[Route("/{path:path}", self.forward, methods=["GET", "POST"])])

    async def forward(self, request: Request) -> Response:
        """One request to the backend and its answer back; a backend that cannot be reached is a 502."""
        body = await request.body()
        try:
            async with httpx.AsyncClient(timeout=60) as client:
                answer = await client.request(request.method, self.backend + request.url.path, content=body)
        except httpx.TransportError as error:
            return Response(type(error).__name__, status_code=502)
        return Response(answer.content, status_code=answer.status_code, media_type="application/json")


@contextmanager
def load(url: str) -> Iterator[Counter[Any]]:
    """Clients that ask without pause while the block runs: how often which answer came, and which were wrong."""
    ended: Counter[Any] = Counter()
    stop, lock = threading.Event(), threading.Lock()

    def client(number: int) -> None:
        texts = [f"text {place} of client {number}" for place in range(1 if number % 4 else 12)]
        while not stop.is_set():
            answer = httpx.post(f"{url}/v1/embeddings", json={"input": texts}, timeout=60)
            right = answer.status_code == 200 and len(answer.json()["data"]) == len(texts)
            with lock:
                ended[answer.status_code if right or answer.status_code != 200 else "wrong"] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            yield ended
        finally:
            stop.set()
        for each in clients:
            each.result()


def test_a_process_is_replaced_and_no_request_fails(imported: Path, tmp_path: Path) -> None:
    with serve(copy_home(imported, tmp_path / "old"), **SETTINGS) as old, ExitStack() as later:
        proxy = Proxy(old.url)
        front = later.enter_context(InProcess(proxy.app))
        with load(front.url) as ended:
            until(lambda: ended.total() >= 50, what="fifty answers of the old process")
            new = later.enter_context(serve(copy_home(imported, tmp_path / "new"), **SETTINGS))  # yields when ready
            running = later.enter_context(ThreadPoolExecutor(1)).submit(long_request, front.url)
            until(lambda: computing(old) > 0, what="a long request")
            proxy.backend = new.url
            time.sleep(PRE_STOP_S)
            old.terminate()
            _, alive = psutil.wait_procs([old.supervisor], timeout=60)
            before = ended.total()
            until(lambda: ended.total() >= before + 50, what="fifty answers of the new process")
        assert not alive
        assert running.result() == 200
        assert ended.keys() == {200}


def test_a_request_that_outlasts_the_grace_is_told(imported: Path, tmp_path: Path) -> None:
    with (
        serve(copy_home(imported, tmp_path), **SETTINGS, SHUTDOWN_GRACE_S="1") as server,
        ThreadPoolExecutor(1) as pool,
    ):
        texts = [f"{number} " * 250 for number in range(2048)]  # minutes of work
        waiting = pool.submit(httpx.post, f"{server.url}/v1/embeddings", json={"input": texts}, timeout=60)
        until(lambda: "service_compute_seconds_total" in metrics(server), what="the first pass")
        server.terminate()
        message = refused(waiting.result(), 503, "shutting_down")
        assert "waited 1 s (SHUTDOWN_GRACE_S)" in message
        _, alive = psutil.wait_procs([server.supervisor], timeout=30)
        assert not alive
        assert "Traceback" not in server.log, server.log


def metrics(server: Served) -> str:
    return httpx.get(f"{server.url}/metrics", timeout=30).text
