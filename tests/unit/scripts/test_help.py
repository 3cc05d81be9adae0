"""All commands have --help, which does nothing else."""

from __future__ import annotations

import subprocess

import pytest

from tests.unit.sources import ROOT

COMMANDS = ("import_models", "verify_models", "embed_corpus", "bench", "build_image", "check", "test")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    done = subprocess.run([ROOT / "scripts" / command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"scripts/{command}" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS[:-1])  # `test` hands what it does not know to pytest
def test_an_unknown_option_is_rejected_with_the_usage(command: str) -> None:
    done = subprocess.run([ROOT / "scripts" / command, "--no-such"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"scripts/{command}" in done.stderr
