"""Commands show their usage where they are asked for it, and for options that they do not have."""

from __future__ import annotations

import subprocess

import pytest

from tests.unit.sources import ROOT


def run(command: str, option: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts" / command, option], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["build_image", "check", "test"])
def test_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"scripts/{command}" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["build_image", "check"])
def test_an_unknown_option_is_rejected_with_the_usage(command: str) -> None:
    done = run(command, "--no-such")
    assert done.returncode == 2
    assert f"scripts/{command}" in done.stderr
