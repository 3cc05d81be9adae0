"""Servers that come up, that do not, and what is left of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.checkpoints import ROOT
from benchmarks.measure import generator_cost
from benchmarks.processes import Command, First, StartError, ending, free_port, post, start

BODY = b'{"input": ["a"]}'


def trivial(port: int) -> Command:
    return Command([sys.executable, "-m", "benchmarks.trivial", str(port)], os.environ, ROOT, port, ("m",))


def script(code: str, port: int) -> Command:
    return Command([sys.executable, "-c", code], os.environ, ROOT, port, ("m",))


def test_a_server_is_started_measured_and_ended(tmp_path: Path) -> None:
    port = free_port()
    running = start([trivial(port)], [First(port, "/", BODY)], tmp_path / "log", timeout_s=30)
    try:
        assert running.ports == {"m": port}
        assert post(port, "/", BODY)[0] == 200
        assert 1 < running.resident_mb() <= running.peak_mb() + 1
    finally:
        running.stop()
    assert not any(psutil.pid_exists(process.pid) for process in running.processes)


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    command = script("raise ValueError('no such flag')", port := free_port())
    with pytest.raises(StartError, match=r"ended with status 1: ValueError: no such flag"):
        start([command], [First(port, "/", BODY)], tmp_path / "log", timeout_s=30)


def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    command = script("import time; print('loading', flush=True); time.sleep(60)", port := free_port())
    with pytest.raises(StartError, match="no answer in time"):
        start([command], [First(port, "/", BODY)], tmp_path / "log", timeout_s=1)


def test_a_crash_for_want_of_instructions_is_said() -> None:
    assert "instructions that this processor does not have" in ending(-signal.SIGILL)
    assert ending(-signal.SIGKILL) == "ended by SIGKILL"
    assert ending(3) == "ended with status 3"


def test_the_generators_own_cost_is_measured(tmp_path: Path) -> None:
    cost = generator_cost(tmp_path / "log", 0.2)
    assert set(cost) == {"requests_per_s_1", "requests_per_s_16", "cpu_us_1", "cpu_us_16"}
    assert all(value > 0 for value in cost.values())
