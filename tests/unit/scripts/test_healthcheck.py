"""scripts/healthcheck: exit status and message of the containers' health check."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from scripts import healthcheck
from tests.serving import free_port


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    monkeypatch.setattr(Answer, "status", 200)
    with HTTPServer(("127.0.0.1", 0), Answer) as made:
        monkeypatch.setenv("PORT", str(made.server_port))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.delenv("NO_PROXY", raising=False)
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost"])
def test_a_ready_service_is_healthy(server: HTTPServer, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HOST", host)
    assert healthcheck.main() == 0


def test_a_service_that_is_not_ready_is_unhealthy(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Answer, "status", 503)
    assert healthcheck.main() == 1
    assert capsys.readouterr().out == "/readyz returned 503\n"


def test_no_response_is_unhealthy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    assert healthcheck.main() == 1
    assert capsys.readouterr().out.startswith(f"no response from port {port}: ")
