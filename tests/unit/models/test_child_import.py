"""The import in a child process: its lines are read, its end is understood, and a caller that leaves ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from errors import ModelUnavailableError
from models import child_import
from models.child_import import import_in_child
from tests.unit.fakes import spec, until

Write = Callable[[str], int]

HEAD = "import json, sys\nassert sys.argv[1:] == ['--json', '--model', 'tiny']\n"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Call it with the code of a script in place of scripts/import_models."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").touch()
    monkeypatch.setattr(child_import, "ROOT", tmp_path)
    return (tmp_path / "scripts" / "import_models.py").write_text


async def test_progress_is_reported_and_other_output_passed_over(child: Write) -> None:
    child(
        HEAD
        + "print('a library says hello')\nprint('[1]')\nprint('{\"progress\": 0.25}')\nprint('{\"progress\": 1}')\n"
    )
    progress: list[float] = []
    await import_in_child(spec(), progress.append)
    assert progress == [0.25, 1.0]


async def test_a_failure_has_the_childs_reason(child: Write) -> None:
    child(HEAD + "print(json.dumps({'error': 'The Hub is down.'}))\nsys.exit(1)")
    with pytest.raises(ModelUnavailableError, match=r"^The Hub is down\.$"):
        await import_in_child(spec(), lambda _: None)


@pytest.mark.parametrize(("end", "status"), [("sys.exit(3)", "3"), ("import os; os.kill(os.getpid(), 9)", "-9")])
async def test_a_child_that_dies_silently_is_a_failure_too(child: Write, end: str, status: str) -> None:
    child(HEAD + end)
    with pytest.raises(ModelUnavailableError, match=f"import of tiny ended with status {status}; out of memory"):
        await import_in_child(spec(), lambda _: None)


async def test_a_very_long_line_is_no_obstacle(child: Write) -> None:
    child(HEAD + "print('x' * 1_000_000)\nprint('{\"progress\": 0.5}')")
    progress: list[float] = []
    await import_in_child(spec(), progress.append)
    assert progress == [0.5]


def running(pid_file: Path) -> bool:
    """Whether the process of that id still does anything."""
    stat = Path(f"/proc/{pid_file.read_text()}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def test_a_caller_that_leaves_ends_the_child(child: Write, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child(
        HEAD + f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
        "print('{\"progress\": 0.5}', flush=True)\ntime.sleep(60)"
    )
    progress: list[float] = []
    task = asyncio.create_task(import_in_child(spec(), progress.append))
    await until(lambda: bool(progress))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not running(pid_file))
