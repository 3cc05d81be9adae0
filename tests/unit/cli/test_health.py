"""./embeddings health: exit status and message of the containers' health check."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from benchmarks.processes import free_port
from tests.command_line import run
from tests.unit.fakes import Quiet, listening


class Answer(Quiet, BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with listening(Answer) as port:
        monkeypatch.setenv("PORT", str(port))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost"])
def test_a_ready_service_is_healthy(server: None, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HOST", host)
    assert run("health") == 0


def test_a_service_that_is_not_ready_is_unhealthy(
    server: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Answer, "status", 503)
    assert run("health") == 1
    assert capsys.readouterr().out == "/readyz returned 503\n"


def test_no_response_is_unhealthy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    assert run("health") == 1
    assert capsys.readouterr().out.startswith(f"no response from port {port}: ")
