"""Starts servers in separate process groups, waits until they respond, measures and stops them."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_S = 0.02
LOG_TAIL_LINES = 12
_random = random.SystemRandom()  # Hypothesis seeds the functions of the module, so processes would choose the same port
SETTLE_S, IDLE_SHARE = 3.0, 0.1
"""A server is idle if its processes take less than this share of a core."""


class StartError(RuntimeError):
    """A server did not start; the message has the reason from its log."""


@dataclass(frozen=True)
class Command:
    """The command of one process, and its models."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    port: int
    models: tuple[str, ...]


@dataclass(frozen=True)
class First:
    """A request that is repeated until the response is 200."""

    port: int
    path: str
    body: bytes


@dataclass
class Running:
    """The processes of one server."""

    processes: list[psutil.Popen]
    ports: dict[str, int]
    start_s: float
    api: str = "ours"
    """Whose requests for sparse vectors and token vectors it understands: ours or vllm."""

    def family(self) -> list[psutil.Process]:
        """All running processes of the server."""
        found: list[psutil.Process] = []
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [psutil.Process(process.pid), *process.children(recursive=True)]
        return found

    def resident_mb(self) -> float:
        """Resident memory of all processes; shared pages count once for each."""
        return sum(_status_mb(process.pid, "VmRSS") for process in self.family())

    def peak_mb(self) -> float:
        """The sum of the peak resident memory of all running processes."""
        return sum(_status_mb(process.pid, "VmHWM") for process in self.family())

    def cpu_s(self) -> float:
        """CPU time of all processes so far, ended children included."""
        total = 0.0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def settle(self, limit_s: float = 180) -> None:
        """Wait until the processes are idle: ours measures the speed of its engines after a start."""
        end = time.perf_counter() + limit_s
        used, share = self.cpu_s(), 1.0
        while share > IDLE_SHARE and time.perf_counter() < end:
            time.sleep(SETTLE_S)
            used, before = self.cpu_s(), used
            share = (used - before) / SETTLE_S

    def stop(self, grace_s: float = 15) -> None:
        """Send SIGTERM to each group; kill the processes that still run after `grace_s`."""
        children: list[psutil.Process] = []
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                children += process.children(recursive=True)
                os.killpg(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs([*self.processes, *children], timeout=grace_s)
        for survivor in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                survivor.kill()
        for process in self.processes:
            process.wait()


def free_port() -> int:
    """A free TCP port, below those of clients (32768 to 60999): one of them could take it before the server does."""
    while True:
        port = _random.randrange(10_240, 32_768)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def start(commands: Iterable[Command], first: Sequence[First], log_path: Path, *, timeout_s: float) -> Running:
    """Start a server and wait until each `first` request has succeeded once; StartError if one never does."""
    commands = list(commands)
    begin = time.perf_counter()
    running = Running([], {model: command.port for command in commands for model in command.models}, 0.0)
    try:
        for command in commands:
            with log_path.open("ab") as log:
                running.processes.append(
                    psutil.Popen(
                        list(command.argv),
                        cwd=command.folder,
                        env=dict(command.environment),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        for request in first:
            _until_answered(request, running, log_path, begin + timeout_s)
    except BaseException:
        running.stop()
        raise
    running.start_s = time.perf_counter() - begin
    return running


def _until_answered(request: First, running: Running, log_path: Path, deadline: float) -> None:
    last = "nothing listened"
    while True:
        for process in running.processes:
            if process.poll() is not None:
                raise StartError(f"{ending(process.returncode)}: {reason(log_path)}")
        if (left := deadline - time.perf_counter()) <= 0:
            raise StartError(f"no answer in time ({last}): {reason(log_path)}")
        try:
            status, body = post(request.port, request.path, request.body, timeout_s=left)
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        else:
            if status == 200:
                return
            last = f"{status} {body[:200].decode(errors='replace')}"
            if status in (400, 401, 404, 422):
                raise StartError(f"{request.path} answered {last}")
        time.sleep(POLL_S)


def post(port: int, path: str, body: bytes, *, timeout_s: float = 300) -> tuple[int, bytes]:
    """Send one request over a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ending(status: int) -> str:
    """A description of how a process ended."""
    if status == -signal.SIGILL:
        return "ended by SIGILL: it was built for instructions that this processor does not have"
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def reason(log_path: Path) -> str:
    """The line of a log that is probably the cause, or its last lines."""
    lines = [line.strip() for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    for line in reversed(lines):
        if any(word in line for word in ("Error:", "Illegal instruction", "not supported", "No module named")):
            return line[-300:]
    return " / ".join(lines[-LOG_TAIL_LINES:])[-300:] or "it wrote nothing"


def _status_mb(pid: int, field: str) -> float:
    """A memory value of /proc/<pid>/status; 0 if the process has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return 0.0
