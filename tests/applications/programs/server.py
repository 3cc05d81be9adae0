"""Applications that are servers: started by a program, and stopped at its end."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import httpx

_START_S = 1800


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], url: str, environment: Mapping[str, str]) -> Iterator[httpx.Client]:
    """A client of the server, once `url` answers; its log goes to stderr. RuntimeError if it ends or does not start."""
    with subprocess.Popen(command, env=os.environ | environment, stdout=sys.stderr, stderr=sys.stderr) as process:
        try:
            _wait(process, url)
            with httpx.Client(base_url=url, timeout=900, trust_env=False) as client:
                yield client
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the application ended with status {process.returncode}")
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=10, trust_env=False).status_code < 500:
                return
        time.sleep(0.5)
    raise RuntimeError(f"the application did not start within {_START_S} s")
