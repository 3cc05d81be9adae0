"""The socket between the workers and the engine process, and the start of that process.

The address is in Linux's abstract namespace: it needs no folder, is freed with the last process that holds the socket,
and can be bound once. The worker that binds it starts the engine and passes the listening socket on. So exactly one
engine starts, and connections of other workers wait in the socket until the engine accepts them.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "engine_process"
"""The module that is the engine process."""
_BACKLOG = 1024
_CREDENTIALS = struct.Struct("3i")


def address(device: int = 0, parent: int | None = None) -> str:
    """The address of one device's engine, the same in all workers of one BentoML supervisor.

    It contains the namespace of process ids, because containers of one pod share that of sockets.
    """
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return f"\0rerank-embedding-{namespace}-{parent or os.getppid()}-{os.geteuid()}-{device}"


def connect(name: str) -> socket.socket | None:
    """A connection to the engine; None if it is not running. PermissionError if another user holds the address."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(1)
        sock.connect(name)
        check(sock)
    except ConnectionRefusedError:
        sock.close()
        return None
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def check(sock: socket.socket) -> None:
    """Raise PermissionError if the peer's process belongs to another user."""
    _, user = _process_and_user(sock)
    if user != os.geteuid():
        raise PermissionError(f"the process behind the engine's socket belongs to another user ({user})")


def engine_behind(sock: socket.socket) -> int | None:
    """The process id of a connection's engine; None if the engine was still starting at the time of the connection.

    The kernel names the process that called `listen` last: the worker that started the engine, then the engine.
    """
    process, _ = _process_and_user(sock)
    try:
        arguments = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return None
    return process if ENGINE.encode() in arguments else None


def _process_and_user(sock: socket.socket) -> tuple[int, int]:
    process, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return process, user


def start_engine(name: str, device: int = 0) -> subprocess.Popen[bytes] | None:
    """Start the engine of one device; None if another worker is starting it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(name)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        listener.listen(_BACKLOG)
        command = [sys.executable, "-m", ENGINE, str(listener.fileno()), str(device)]
        return subprocess.Popen(  # noqa: S603  # our own module
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            start_new_session=True,  # signals to the group of the workers must not reach the engine
        )
