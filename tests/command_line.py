"""Runs the command line in this process."""

from __future__ import annotations

from pathlib import Path

from cli import NAME
from cli.app import app


def run(*arguments: str | Path) -> int:
    """The exit status of a command."""
    try:
        app(list(map(str, arguments)), prog_name=NAME)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    raise AssertionError("a command ends with SystemExit")
