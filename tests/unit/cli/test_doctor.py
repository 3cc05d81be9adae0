"""./embeddings doctor: each wrong thing is found, with the command that corrects it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from benchmarks.processes import free_port
from cli import checks
from cli.checks import Finding, Machine
from models.store import ModelStore
from runners.devices import DeviceError
from settings import Settings
from tests.command_line import run
from tests.unit.fakes import Quiet, facts, listening


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def machine(home: Path) -> Machine:
    """A machine with the settings' defaults and a store of its own."""
    made = Machine(Settings())
    made.__dict__["store"] = ModelStore(home)
    return made


def one(found: Iterator[Finding]) -> Finding:
    (finding,) = found
    return finding


class Answer(Quiet, BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()


@pytest.mark.parametrize(
    ("variable", "value", "text", "fix"),
    [
        ("PORT", "http", "PORT: ", "unset PORT"),
        ("API_KEYS_FILE", "/nowhere", "API_KEYS_FILE: /nowhere cannot be read", "unset API_KEYS_FILE"),
        ("EXTRA_CATALOG", "/nowhere.yaml", "/nowhere.yaml: ", "correct the file"),
        ("EMBEDDING_MODEL_NAME", "bge-m33", "Did you mean bge-m3", "./embeddings list"),
    ],
)
def test_a_wrong_setting_is_explained_and_the_rest_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, text: str, fix: str
) -> None:
    monkeypatch.setattr(checks, "CHECKS", (checks.memory, checks.disk))
    monkeypatch.setenv(variable, value)
    assert run("doctor", "--json") == 1
    first, *others = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["name"], first["state"]) == ("Settings", "problem")
    assert text in first["text"]
    assert fix in first["fix"]
    assert [other["name"] for other in others] == ["Memory", "Disk"]


def test_a_home_that_cannot_be_written_is_a_problem_of_the_store(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").touch()
    monkeypatch.setattr(checks, "CHECKS", (checks.disk, checks.store))
    monkeypatch.setenv("BENTOML_HOME", str(home / "file" / "home"))
    assert run("doctor") == 1
    assert "problem Store     BENTOML_HOME: " in capsys.readouterr().out


def test_without_a_problem_the_exit_status_is_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "CHECKS", ())
    monkeypatch.setenv("WORKERS", "2")
    assert run("doctor") == 0
    output = capsys.readouterr().out
    assert "WORKERS" in output
    assert "No problem found." in output
    assert "\x1b" not in output  # colours are for terminals


def test_another_version_of_a_package(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(checks.python(machine)).state == "ok"
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0" if name == "torch" else real(name))
    _, found = checks.python(machine)
    assert found == Finding("Packages", "problem", "torch<3,>=2.13 is needed, not 1.0", "scripts/install")


@pytest.mark.parametrize(
    ("nvidia", "build", "state", "fix"),
    [
        (([], 0), "cpu", "ok", ""),
        ((["H100"], 13), "cuda 13.0", "ok", ""),
        ((["H100"], 13), "cpu", "problem", "TORCH_PLATFORM=cuda scripts/install"),
        ((["H100"], 12), "cuda 13.0", "problem", "install a newer NVIDIA driver"),
    ],
)
def test_the_build_of_torch_must_match_the_gpu(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, nvidia: Any, build: str, state: str, fix: str
) -> None:
    monkeypatch.setattr(checks, "_nvidia", lambda: nvidia)
    monkeypatch.setattr(checks, "_torch_build", lambda: build)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = one(checks.gpu(machine))
    assert (found.state, found.fix) == (state, fix)


def test_a_gpu_that_is_demanded_but_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Settings) -> None:
        raise DeviceError("DEVICE=cuda, but torch sees no GPU.")

    monkeypatch.setattr(checks, "require", refuse)
    monkeypatch.setattr(checks, "_nvidia", lambda: ([], 0))
    found = one(checks.gpu(Machine(Settings(device="cuda"))))
    assert found.state == "problem"
    assert found.text.startswith("DEVICE=cuda, but torch sees no GPU. Found: ")
    assert found.fix.startswith("unset DEVICE")


def test_little_memory_and_a_full_disk(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=10**9, available=5 * 10**8))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert one(checks.memory(machine)).state == "problem"
    assert one(checks.disk(machine)).fix.startswith("./embeddings remove NAME")


def test_the_store_without_models_and_with_a_damaged_one(machine: Machine) -> None:
    assert one(checks.store(machine)).fix == "./embeddings import all-minilm-l6-v2"
    wrong = facts(repo="intfloat/e5-base", revision="a" * 40)
    machine.store.register(machine.store.staging(machine.catalog.get("e5-base")), wrong, {})
    flaw, listed = checks.store(machine)
    assert (flaw.state, flaw.fix) == ("problem", "./embeddings import e5-base")
    assert listed.text == "1 stored: e5-base"


def test_a_store_that_cannot_be_written(home: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("BENTOML_HOME", str(home / "file" / "home"))
    assert one(checks.store(machine)).text.startswith("BENTOML_HOME: ")


def test_a_proxy_is_shown_without_its_password(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    monkeypatch.setenv("NO_PROXY", "")
    found = one(checks.proxy(machine))
    assert "HTTPS_PROXY=http://***@proxy:3128" in found.text
    assert (found.state, found.fix) == ("note", "export NO_PROXY=localhost,127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert one(checks.proxy(machine)).state == "ok"


def test_the_hub(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with listening(Answer) as port:
        url = f"http://127.0.0.1:{port}"
        assert one(checks.hub(Machine(Settings(hf_endpoint=url)))).state == "ok"
        monkeypatch.setattr(Answer, "status", 401)
        refused = one(checks.hub(Machine(Settings(hf_endpoint=url, hf_token="secret"))))
        assert (refused.state, refused.text) == ("problem", f"{url} rejects HF_TOKEN")
    missing = Machine(Settings(hf_endpoint=f"http://127.0.0.1:{free_port()}"))
    missing.__dict__["store"] = machine.store
    found = one(checks.hub(missing))
    assert "cannot be reached (ConnectError" in found.text
    assert "BAAI/bge-m3" in found.text
    assert one(checks.hub(Machine(Settings(hf_hub_offline=True)))).state == "ok"


def test_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        taken.close()
        assert one(checks.port(Machine(Settings(host="127.0.0.1", port=number)))).state == "ok"
    with listening(Answer) as number:
        found = one(checks.port(Machine(Settings(host="127.0.0.1", port=number))))
        assert found.text == f"a service runs on port {number} and is ready"
        Answer.status = 404
        try:
            found = one(checks.port(Machine(Settings(host="127.0.0.1", port=number))))
        finally:
            Answer.status = 200
        assert found.state == "problem"
        assert f"PORT: {number} on 127.0.0.1 is in use" in found.text
        assert found.fix.startswith("PORT=")
    found = one(checks.port(Machine(Settings(host="192.0.2.1", port=7987))))
    assert found.text.startswith("HOST: 192.0.2.1 is not an address of this machine")
    assert found.fix == "unset HOST"
