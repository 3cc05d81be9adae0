"""Shutdown: a process behind a proxy is replaced without failed requests; unfinished requests get an error."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
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
from tests.serving import InProcess, Served, copy_home, http_get, http_post, read_all, serve, until

CLIENTS = 4
PRE_STOP_S = 2
"""Time between the last request to a process and its SIGTERM, as with preStop in deploy/kubernetes."""


class Proxy:
    """Forwards each request to the current backend, over a new connection."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.app = Starlette(routes=[Route("/{path:path}", self.forward, methods=["GET", "POST"])])

    async def forward(self, request: Request) -> Response:
        """Forward one request and its response; 502 if the backend cannot be reached."""
        body = await request.body()
        try:
            async with httpx.AsyncClient(timeout=60, verify=False) as client:
                answer = await client.request(request.method, self.backend + request.url.path, content=body)
        except httpx.TransportError as error:
            return Response(type(error).__name__, status_code=502)
        return Response(answer.content, status_code=answer.status_code, media_type="application/json")


@contextmanager
def load(url: str) -> Iterator[Counter[Any]]:
    """Clients that send requests without pause: yields the number of responses by status, and the wrong ones."""
    ended: Counter[Any] = Counter()
    stop, lock = threading.Event(), threading.Lock()

    def client(number: int) -> None:
        texts = [f"text {place} of client {number}" for place in range(1 if number % 4 else 12)]
        while not stop.is_set():
            answer = http_post(f"{url}/v1/embeddings", json={"input": texts}, timeout=60)
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


def test_replacing_a_process_fails_no_request(imported: Path, tmp_path: Path) -> None:
    with ExitStack() as later:
        # before the load, which would slow the start
        old, new = (
            later.enter_context(serve(copy_home(imported, tmp_path / age), **SETTINGS)) for age in ("old", "new")
        )
        proxy = Proxy(old.url)
        front = later.enter_context(InProcess(proxy.app))
        with load(front.url) as ended:
            until(lambda: ended.total() >= 50, what="fifty answers of the old process")
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


class Silent:
    """A provider that never responds: a listening socket that accepts nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()


def test_all_requests_end_within_the_grace_period(imported: Path, tmp_path: Path) -> None:
    """A long computation, an incomplete body, an unread response, a forwarded request and a long tokenization."""
    home = copy_home(imported, tmp_path)
    settings = SETTINGS | {"SHUTDOWN_GRACE_S": "1", "COHERE_API_KEY": "x", "MAX_BATCH_TOKENS": "64"}
    with ExitStack() as stack:
        silent = stack.enter_context(closing(Silent()))
        server = stack.enter_context(serve(home, **settings, COHERE_BASE_URL=silent.url))
        half_sent, unread = (stack.enter_context(connect(server)) for _ in range(2))
        half_sent.sendall(b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf")
        unread.sendall(b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        pool = stack.enter_context(ThreadPoolExecutor(3))
        texts = [f"{number} " * 250 for number in range(2048)]
        computed = pool.submit(http_post, f"{server.url}/v1/embeddings", json={"input": texts}, timeout=300)
        until(lambda: "service_compute_seconds_total" in metrics(server), what="the first pass")
        rerank = {"model": "cohere-rerank-multilingual", "query": "q", "documents": ["d"]}
        embed = {"input": ["word " * 20_000 + str(number) for number in range(400)]}
        posts = [("/v1/rerank", rerank), ("/v1/embeddings", embed)]
        waiting = [pool.submit(http_post, server.url + path, json=body, timeout=300) for path, body in posts]
        until(lambda: in_progress(server, "/v1/rerank") == 2, what="the half-sent and the forwarded request")
        until(lambda: in_progress(server, "/v1/embeddings") == 2, what="the long text")
        server.terminate()
        assert "within 1 s (SHUTDOWN_GRACE_S)" in refused(computed.result(), 503, "shutting_down")
        for each in waiting:
            refused(each.result(), 503, "shutting_down")
        assert read_all(half_sent).startswith(b"HTTP/1.1 503 ")
        _, alive = psutil.wait_procs([server.supervisor], timeout=60)
        assert not alive
        assert "Traceback" not in server.log, server.log


def connect(server: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def in_progress(server: Served, route: str) -> float:
    start = f'service_requests_in_progress{{route="{route}"'
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics(server).splitlines() if line.startswith(start))


def metrics(server: Served) -> str:
    return http_get(f"{server.url}/metrics", timeout=30).text
