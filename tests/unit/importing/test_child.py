"""The import in a child process: its output is read, failures are reported, hangs and cancellation end it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from errors import ModelUnavailableError
from importing import importer
from importing.child import SILENCE_LIMIT_S, import_in_child, main
from models.catalog import ModelSpec
from tests.unit.fakes import spec, until

HEAD = "import json, sys\nassert sys.argv[1:] == ['tiny']\n"


class Child:
    """An import whose child process runs the test's program."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def __call__(self, code: str) -> None:
        self.program.write_text(HEAD + code)

    async def run(self, report: Callable[[float], None], silence_limit_s: float = SILENCE_LIMIT_S) -> None:
        command: list[str | Path] = [sys.executable, self.program]
        await import_in_child(spec(), report, command=command, silence_limit_s=silence_limit_s)


@pytest.fixture
def child(tmp_path: Path) -> Child:
    """Call it with the code of the program."""
    return Child(tmp_path / "program.py")


async def test_progress_is_reported_and_other_output_passed_over(child: Child) -> None:
    child(
        "print('a library says hello')\nprint('[1]')\nprint('x' * 1_000_000)\n"
        "print('{\"progress\": 0.25}')\nprint('{\"progress\": 1}')\n"
    )
    progress: list[float] = []
    await child.run(progress.append)
    assert progress == [0.25, 1.0]


async def test_a_failure_has_the_childs_reason(child: Child) -> None:
    child("print(json.dumps({'error': 'The Hub is down.'}))\nsys.exit(1)")
    with pytest.raises(ModelUnavailableError, match=r"^The Hub is down\.$"):
        await child.run(lambda _: None)


@pytest.mark.parametrize(("end", "status"), [("sys.exit(3)", "3"), ("import os; os.kill(os.getpid(), 9)", "-9")])
async def test_a_child_that_dies_silently_is_a_failure_too(child: Child, end: str, status: str) -> None:
    child(end)
    with pytest.raises(ModelUnavailableError, match=f"import of tiny ended with status {status}; a common cause"):
        await child.run(lambda _: None)


def running(pid_file: Path) -> bool:
    """Whether the process of that id still does anything."""
    stat = Path(f"/proc/{pid_file.read_text()}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture
def hung(child: Child, tmp_path: Path) -> Path:
    """The file with the process id of a child that writes it, reports progress and then hangs."""
    pid_file = tmp_path / "pid"
    child(
        f"import os, signal\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
        "print('{\"progress\": 0.5}', flush=True)\nsignal.pause()"
    )
    return pid_file


async def test_cancellation_kills_the_child(child: Child, hung: Path) -> None:
    progress: list[float] = []
    task = asyncio.create_task(child.run(progress.append))
    await until(lambda: bool(progress))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running(hung)


@pytest.mark.usefixtures("hung")
async def test_a_silent_child_is_killed(child: Child) -> None:
    """The call waits for the child's end, and nothing else ends this child."""
    with pytest.raises(ModelUnavailableError, match=r"import of tiny made no progress for 0\.1 s and was stopped\."):
        await child.run(lambda _: None, silence_limit_s=0.1)


class FakeImport:
    """In place of `import_model`: reports half the bytes, then ends or fails."""

    failure: str | None = None

    def __call__(self, _spec: ModelSpec, *, progress: Callable[[int, int], None], **_: object) -> None:
        progress(50, 100)
        if self.failure is not None:
            raise ModelUnavailableError(self.failure)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeImport:
    made = FakeImport()
    monkeypatch.setattr(importer, "import_model", made)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["importing.child", "bge-m3"])
    return made


@pytest.mark.parametrize(("failure", "written"), [(None, ""), ("Down.", '{"error": "Down."}\n')])
def test_the_child_prints_its_progress_and_why_it_failed(
    fake: FakeImport, capsys: pytest.CaptureFixture[str], failure: str | None, written: str
) -> None:
    fake.failure = failure
    assert main() == (failure is not None)
    assert capsys.readouterr().out == f'{{"progress": 0.5}}\n{written}'


@pytest.mark.parametrize(
    ("variable", "value", "status"),
    [("PORT", "http", 2), ("EXTRA_CATALOG", "/nowhere.yaml", 2), ("BENTOML_HOME", "", 1)],
)
def test_settings_that_became_wrong_are_a_reason_too(
    fake: FakeImport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    status: int,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, value or str(tmp_path / "file" / "home"))
    assert main() == status
    assert capsys.readouterr().out.startswith('{"error": "')
