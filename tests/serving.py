"""Runs `bentoml serve` in a child process, or an ASGI app in a thread."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import httpx
import psutil
import uvicorn
import uvloop

from benchmarks.processes import free_port
from settings import Settings
from tests.variant import THREADS

ROOT = Path(__file__).parent.parent
DEAD_ENDPOINT = "http://127.0.0.1:9"
"""The discard port: connections are refused immediately."""
BENTOML = str(Path(sys.executable).with_name("bentoml"))
_POLL_S = 0.05

T = TypeVar("T")

http_get, http_post = partial(httpx.get, verify=False), partial(httpx.post, verify=False)
"""One request over a new connection. Without verification, because httpx would read all certificates each time."""
http_client = partial(httpx.Client, verify=False)
"""A client for many requests, without verification for the same reason."""


def until(found: Callable[[], T], *, timeout_s: float = 300, what: str = "an event") -> T:
    """Poll until `found()` is true and return it; TimeoutError with the name of the event."""
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {timeout_s:g} s")
        time.sleep(_POLL_S)
    return value


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes; head and body may arrive separately."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def child_environment(home: Path, settings: dict[str, str]) -> dict[str, str]:
    """This process's environment with `settings` instead of the service's current settings."""
    ours = {name.upper() for name in Settings.model_fields} | {"PROMETHEUS_MULTIPROC_DIR"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    fixed = {
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "true",
        "HF_ENDPOINT": DEAD_ENDPOINT,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HOST": "127.0.0.1",
    }
    return inherited | fixed | settings


def import_models(home: Path, *arguments: str, **settings: str) -> None:
    """Import models into the store of a BENTOML_HOME; `arguments` are those of `./embeddings import`.

    They are measured with the threads of `serve`, which would measure them at each start otherwise.
    """
    command = [sys.executable, "-m", "cli", "import", *arguments]
    environment = child_environment(home, {"CPU_THREADS": str(THREADS)} | settings)
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def copy_home(source: Path, target: Path) -> Path:
    """A copy of a BENTOML_HOME with hard links, because servers must not share one."""
    target.mkdir(parents=True, exist_ok=True)
    if (source / "models").is_dir():
        shutil.copytree(source / "models", target / "models", copy_function=os.link)
    return target


def start_server(
    command: Sequence[str], environment: Mapping[str, str], log: BinaryIO, cwd: Path = ROOT
) -> psutil.Popen:
    """Start a server in a new process group, without waiting until it is ready."""
    return psutil.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def send_sigterm(supervisor: psutil.Popen) -> None:
    """Send SIGTERM to a server's process group, like a container runtime."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(supervisor.pid, signal.SIGTERM)


def stop_server(supervisor: psutil.Popen, grace_s: float = 15) -> None:
    """Stop the process group of a server; kill the children that still run after `grace_s`."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = supervisor.children(recursive=True)
        send_sigterm(supervisor)
        _, alive = psutil.wait_procs([supervisor, *family], timeout=grace_s)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    supervisor.wait()


@dataclass(frozen=True)
class Served:
    """A running `bentoml serve`: the supervisor, its workers and their log."""

    url: str
    port: int
    log_path: Path
    supervisor: psutil.Popen

    @property
    def log(self) -> str:
        """The output of the server and its workers so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The worker processes, which have separate process groups."""
        return [child for child in self.supervisor.children() if "_bentoml_impl.worker.service" in child.cmdline()]

    def terminate(self) -> None:
        """Send SIGTERM."""
        send_sigterm(self.supervisor)


@contextlib.contextmanager
def serve(home: Path, *, ready: str = "/readyz", **settings: str) -> Iterator[Served]:
    """Run `bentoml serve` in a new process group until the block ends; yields when `ready` returns 200.

    `home` is its BENTOML_HOME. Settings are environment variables: `WORKERS="2"`.
    """
    port = int(settings.get("PORT", free_port()))
    log_path = home / "serve.log"
    # one thread, because several tests run at a time
    environment = child_environment(home, {"PORT": str(port), "CPU_THREADS": str(THREADS)} | settings)
    with log_path.open("wb") as log:
        supervisor = start_server([BENTOML, "serve"], environment, log)
    served = Served(f"http://127.0.0.1:{port}", port, log_path, supervisor)
    try:
        wait_until_ready(served, ready)
        yield served
    finally:
        stop_server(supervisor)


def wait_until_ready(served: Served, path: str = "/readyz") -> None:
    """Wait until `path` returns 200; an error has the server's log."""

    def answers() -> bool:
        if served.supervisor.poll() is not None:
            raise RuntimeError(f"the server ended with status {served.supervisor.returncode}:\n{served.log}")
        with contextlib.suppress(httpx.TransportError):
            return http_get(served.url + path, timeout=5).status_code == 200
        return False

    try:
        until(answers, what=f"200 from {path}")
    except TimeoutError as error:
        raise TimeoutError(f"{error}:\n{served.log}") from None


@dataclass
class InProcess:
    """An ASGI app with a real socket, in a thread: tests can access its objects and send raw HTTP."""

    app: Any
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=self.port, log_config=None, timeout_graceful_shutdown=10
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="in-process server", daemon=True)

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            await self._server.serve()

        uvloop.run(serve())

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive(), what="the start of the app")
        if not self._server.started:
            raise RuntimeError("the app did not start; its log says why")
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join()
