"""The engine's socket: one name per service, one engine however many workers start it, no other user."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import Any

import pytest

from runners.remote import peer


@pytest.fixture
def name() -> str:
    return f"\0rerank-embedding-test-{os.getpid()}-{os.urandom(4).hex()}"


def test_workers_of_one_supervisor_share_a_name() -> None:
    assert peer.address() == peer.address(0, os.getppid())
    assert len({peer.address(), peer.address(1), peer.address(0, 1)}) == 3


def test_one_engine_is_started_and_its_socket_waits_for_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[socket.socket] = []

    def popen(command: list[str], *, pass_fds: tuple[int, ...], **_: Any) -> str:
        assert command[1:] == ["-m", "engine_process", str(pass_fds[0]), "2"]
        started.append(socket.socket(fileno=os.dup(pass_fds[0])))  # as the child inherits it
        return "the engine"

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert peer.connect(name) is None
    assert peer.start_engine(name, 2) == "the engine"  # type: ignore[comparison-overlap]  # a stand-in
    assert peer.start_engine(name, 2) is None
    connection = peer.connect(name)
    assert connection is not None
    (listener,) = started
    accepted, _ = listener.accept()
    with connection, accepted:
        accepted.sendall(b"info")
        assert connection.recv(5) == b"info"
        assert peer.engine_behind(connection) is None  # only this process has listened
    listener.close()
    assert peer.connect(name) is None  # the name ends with the engine


def test_a_socket_of_another_user_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(PermissionError, match="another user"):
            peer.connect(name)
