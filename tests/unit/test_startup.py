"""What keeps the service from starting is said in one sentence, whoever starts it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import startup
from benchmarks.processes import free_port
from settings import Settings, SettingsError, bentoml_home
from startup import StartError, bound_address, check_address, check_batch_dir, check_home
from tests.serving import child_environment
from tests.unit.sources import ROOT


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def serve(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """`bentoml serve`, which is expected to end by itself."""
    command = [str(Path(sys.executable).with_name("bentoml")), "serve"]
    environment = child_environment(home, settings)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


def worker(listener: socket.socket) -> click.Context:
    """The context in which BentoML's worker imports service.py."""
    context = click.Context(click.Command("main"))
    context.params["fd"] = listener.fileno()
    return context


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A folder that cannot be made, not by root either."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "home"


def test_a_busy_port(tmp_path: Path, busy_port: int) -> None:
    """The port of the command line, or of BENTOML_PORT in its place, is the one that counts."""
    ended = serve(tmp_path, PORT=str(free_port()), BENTOML_PORT=str(busy_port))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"Error: PORT: {busy_port} on 127.0.0.1 is in use by another process. Stop it, or set PORT to another number.\n"
    )


def test_a_wrong_setting(tmp_path: Path) -> None:
    ended = serve(tmp_path, MAX_INPUTS="many")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: MAX_INPUTS: ")
    assert ended.stderr.count("\n") == 1


def refuse(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int) -> None:
    """Have a function of the system fail with this error number."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EADDRNOTAVAIL, r"^HOST: 192\.0\.2\.1 is not an address of this machine\."),
        (errno.EACCES, r"^PORT: cannot listen on port 80 of 192\.0\.2\.1 \(Permission denied\)\."),
    ],
)
def test_an_address_that_cannot_be_taken(monkeypatch: pytest.MonkeyPatch, number: int, message: str) -> None:
    check_address("127.0.0.1", free_port())
    refuse(monkeypatch, socket.socket, "bind", number)
    with pytest.raises(StartError, match=message):
        check_address("192.0.2.1", 80)


@pytest.mark.parametrize("imports", [True, False])
def test_a_home_that_cannot_be_made(unwritable: Path, imports: bool) -> None:
    with pytest.raises(StartError, match=r"^BENTOML_HOME: .*/home cannot be written \(Not a directory\)\. Set "):
        check_home(unwritable, imports=imports)


def test_a_store_that_became_read_only_or_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_home(tmp_path, imports=True)
    refuse(monkeypatch, tempfile, "TemporaryFile", errno.EROFS)
    with pytest.raises(StartError, match=r"models cannot be written \(Read-only file system\).*IMPORT_ON_DEMAND=false"):
        check_home(tmp_path, imports=True)
    check_home(tmp_path, imports=False)  # models that are baked into an image
    refuse(monkeypatch, tempfile, "TemporaryFile", errno.ENOSPC)
    check_home(tmp_path, imports=True)  # what is stored can be served


def test_a_batch_folder_that_cannot_be_made_or_is_full(
    unwritable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_batch_dir(tmp_path / "new" / "batches")
    with pytest.raises(StartError, match=r"^BATCH_DIR: .*/home cannot be written \(Not a directory\)\. Set "):
        check_batch_dir(unwritable)
    refuse(monkeypatch, tempfile, "TemporaryFile", errno.ENOSPC)
    check_batch_dir(tmp_path)  # requests get 507 until there is room


def test_home_is_read_as_bentoml_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME", "/data")
    monkeypatch.setenv("BENTOML_HOME", "$SOME/bentoml")
    assert bentoml_home() == Path("/data/bentoml")
    monkeypatch.delenv("BENTOML_HOME")
    assert bentoml_home() == Path.home() / "bentoml"


def test_nothing_is_checked_outside_of_serve(monkeypatch: pytest.MonkeyPatch, busy_port: int, unwritable: Path) -> None:
    """A worker imports service.py too, when the supervisor has bound the port already."""
    monkeypatch.setenv("BENTOML_HOME", str(unwritable))
    settings = Settings(host="127.0.0.1", port=busy_port)
    startup.check(settings)
    with click.Context(click.Command("main")):
        startup.check(settings)
    with click.Context(click.Command("serve")), pytest.raises(StartError):
        startup.check(settings)


@pytest.mark.parametrize(
    ("family", "given", "host"),
    [
        (socket.AF_INET, ("127.0.0.1", 0), "127.0.0.1"),
        (socket.AF_INET, ("0.0.0.0", 0), "0.0.0.0"),
        (socket.AF_INET6, ("::1", 0), "::1"),
    ],
)
def test_a_worker_knows_the_address_of_its_socket(family: int, given: tuple[str, int], host: str) -> None:
    """`bentoml serve --host` does not change HOST; only the worker's socket tells its address."""
    with socket.socket(family) as listener, worker(listener):
        listener.bind(given)
        assert bound_address(Settings(host="192.0.2.1", port=80)) == (host, listener.getsockname()[1])


def test_without_an_internet_socket_the_settings_tell_the_address(tmp_path: Path) -> None:
    settings = Settings(host="192.0.2.1", port=80)
    assert bound_address(settings) == ("192.0.2.1", 80)
    with click.Context(click.Command("serve")):
        assert bound_address(settings) == ("192.0.2.1", 80)
    with socket.socket(socket.AF_UNIX) as listener, worker(listener):
        listener.bind(str(tmp_path / "socket"))
        assert bound_address(settings) == ("192.0.2.1", 80)


def test_only_known_errors_lose_their_traceback() -> None:
    with pytest.raises(click.ClickException, match="PORT: no"), startup.without_traceback():
        raise SettingsError("PORT: no")
    with pytest.raises(ValueError, match="a mistake of ours"), startup.without_traceback():
        raise ValueError("a mistake of ours")


def entrypoint(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """docker/entrypoint.sh beside a stand-in for BentoML's, which prints what it was given."""
    (tmp_path / "entrypoint.sh").write_bytes((ROOT / "docker/entrypoint.sh").read_bytes())
    (tmp_path / "bentoml-entrypoint.sh").write_text('echo "$# $* port=${BENTOML_PORT-unset}"\n')
    (tmp_path / "src").symlink_to(ROOT)
    given = child_environment(tmp_path / "home", {"BENTO_PATH": str(tmp_path)} | environment)
    given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
    return subprocess.run(
        ["bash", tmp_path / "entrypoint.sh", *arguments], env=given, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("given", "kept"), [("tcp://10.0.0.7:3000", "unset"), ("3000", "3000"), ("", "unset"), ("3000 ", "unset")]
)
def test_the_container_takes_no_address_for_a_port(tmp_path: Path, given: str, kept: str) -> None:
    ended = entrypoint(tmp_path, "serve", BENTOML_PORT=given)
    assert (ended.stdout, ended.returncode) == (f"1 serve port={kept}\n", 0), ended.stderr


@pytest.mark.parametrize("arguments", [[], ["serve"], ["--reload"]])
def test_the_container_says_what_is_wrong_with_its_volume(
    tmp_path: Path, unwritable: Path, arguments: list[str]
) -> None:
    ended = entrypoint(tmp_path, *arguments, BENTOML_HOME=str(unwritable))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"BENTOML_HOME: {unwritable} cannot be written")
    assert ended.stderr.count("\n") == 1


def test_other_commands_of_the_container_run_as_they_are(tmp_path: Path, unwritable: Path) -> None:
    ended = entrypoint(tmp_path, "bash", "-c", "true", BENTOML_HOME=str(unwritable))
    assert ended.stdout == "3 bash -c true port=unset\n"


def test_the_command_line_does_so_with_the_same_line() -> None:
    (line,) = [
        line for line in (ROOT / "docker/entrypoint.sh").read_text().splitlines() if "unset BENTOML_PORT" in line
    ]
    assert line in (ROOT / "embeddings").read_text().splitlines()
