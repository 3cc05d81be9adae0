"""Child processes of the benchmark: questions, failures and the end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from benchmarks import child
from benchmarks.child import Child
from benchmarks.measure import MeasurementError

ECHO = "import sys; print('\"ready\"', flush=True); [print(line, end='', flush=True) for line in sys.stdin]"
BUSY = "import time; print('\"ready\"', flush=True); time.sleep(600)"


def started(tmp_path: Path, script: str) -> Child:
    return Child.start("it", [sys.executable, "-c", script], tmp_path / "log")


def test_it_answers_until_it_is_stopped(tmp_path: Path) -> None:
    echo = started(tmp_path, ECHO)
    assert echo.facts == "ready"
    assert echo.ask({"a": [1, "é"]}) == {"a": [1, "é"]}
    echo.stop()
    assert echo.process.returncode == 0


def test_one_that_computes_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "GRACE_S", 0.1)
    busy = started(tmp_path, BUSY)
    busy.stop()
    assert busy.process.returncode == -signal.SIGKILL


def test_one_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ValueError: no such model"):
        started(tmp_path, "raise ValueError('no such model')")
    ended = started(tmp_path, "print(1); input()")
    with pytest.raises(MeasurementError, match="it ended"):
        ended.ask({})
    ended.stop()
