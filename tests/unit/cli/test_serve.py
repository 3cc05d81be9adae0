"""./embeddings serve: what it checks, sets and says."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import free_port
from cli import serve
from settings import Settings
from tests.command_line import run


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The commands that take the place of this process; the announcement is left out."""
    commands: list[list[str]] = []
    for name in ("HOST", "PORT", "REQUEST_LOG"):
        monkeypatch.setenv(name, "")  # restores what the command sets
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve, "_announce", lambda _: commands.append(["announce"]))
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    return commands


def test_options_become_settings(executed: list[list[str]]) -> None:
    port = free_port()
    run("serve", "--host", "127.0.0.1", "--port", str(port))
    assert (os.environ["HOST"], os.environ["PORT"]) == ("127.0.0.1", str(port))
    announced, (program, *arguments) = executed
    assert announced == ["announce"]
    assert (Path(program).name, arguments) == ("bentoml", ["serve"])


def test_json_is_the_format_of_the_log(executed: list[list[str]]) -> None:
    run("serve", "--json", "--host", "127.0.0.1", "--port", str(free_port()))
    assert os.environ["REQUEST_LOG"] == "json"
    assert len(executed) == 1


def test_another_program_on_the_port(executed: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run("serve", "--host", "127.0.0.1", "--port", str(port)) == 2
    assert f"PORT: {port} on 127.0.0.1 is in use by another process." in capsys.readouterr().err
    assert executed == []


@pytest.mark.parametrize(
    ("settings", "shown", "hidden"),
    [
        ({}, "http://localhost:7987/playground", "Bearer"),
        ({"api_keys": ("secret",)}, "-H 'Authorization: Bearer YOUR_KEY'", "secret"),
        (
            {"playground": False, "host": "127.0.0.1", "port": 80},
            "curl http://127.0.0.1:80/v1/embeddings",
            "Playground",
        ),
    ],
)
def test_instructions(settings: dict[str, Any], shown: str, hidden: str) -> None:
    text = serve.instructions(Settings(**settings), "all-minilm-l6-v2")
    assert shown in text
    assert hidden not in text
