"""A run of tests ends, and no test is lost, when one of its processes dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scheduling import FIRST, SHARED
from tests.serving import ROOT

HOOKS = """
from tests.scheduling import SharedServers
def pytest_xdist_make_scheduler(config, log):
    return SharedServers(config, log)
"""
DIES_ONCE = """
import os, pathlib, signal
def test_before(): pass
def test_dies():
    died = pathlib.Path(__file__).with_name("died")
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
def test_after(): pass
"""
FILES = 30


@pytest.mark.parametrize("path", [*FIRST, *(path for paths in SHARED.values() for path in paths)])
def test_the_listed_files_exist(path: str) -> None:
    assert (ROOT / path).exists()


def test_a_process_dies(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(HOOKS)
    for number in range(FILES):
        (tmp_path / f"test_{number:02}.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    (tmp_path / f"test_{FILES - 2}.py").write_text(DIES_ONCE)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    options = ["-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider", "-W", "ignore", "."]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert f"1 failed, {2 * FILES + 1} passed" in run.stdout, run.stdout + run.stderr
