"""Two workers, and SIGTERM: running requests finish and the processes exit."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests.e2e.conftest import SETTINGS
from tests.errors import message_of
from tests.serving import Served, copy_home, http_get, http_post, serve, until


def long_request(url: str, seconds: float = 300) -> int | None:
    """The status of a long request; None if the connection closed without a response."""
    texts = [f"number {number} " * 100 for number in range(20)]
    try:
        response = http_post(f"{url}/v1/embeddings", json={"input": texts}, timeout=seconds)
    except (httpx.NetworkError, httpx.ProtocolError):  # a timeout would be an error
        return None
    if response.status_code != 200:
        message_of(response.json())
    return response.status_code


def computing(server: Served) -> float:
    """Number of running embedding requests of all workers."""
    lines = http_get(f"{server.url}/metrics").text.splitlines()
    running = [line for line in lines if line.startswith('service_requests_in_progress{route="/v1/embeddings"')]
    return sum(float(line.rsplit(" ", 1)[1]) for line in running)


def test_two_workers_and_sigterm(imported: Path, tmp_path: Path) -> None:
    with serve(copy_home(imported, tmp_path), **SETTINGS, WORKERS="2") as server:
        workers = server.workers()
        assert len(workers) == 2
        until(lambda: server.log.count("Completed async startup hook") == 2, what="the second worker")
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda number: short(server, number), range(64)))
        assert answers == [200] * 64

        with ThreadPoolExecutor(6) as pool:
            waiting = [pool.submit(long_request, server.url) for _ in range(6)]
            until(lambda: computing(server) == 6, what="six running requests")
            server.terminate()
            statuses = [future.result() for future in waiting]
        assert set(statuses) <= {200, 503, None}
        _, alive = psutil.wait_procs([server.supervisor, *workers], timeout=300)
        assert not alive
        assert server.supervisor.returncode == 0
        log = server.log
        assert "Traceback" not in log, log


def short(server: Served, number: int) -> int:
    """One text over a new connection; the system distributes connections over the workers."""
    return http_post(f"{server.url}/v1/embeddings", json={"input": f"text {number}"}, timeout=300).status_code
