"""A child process of the benchmark that writes one JSON line for each JSON line that it reads."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import ROOT
from benchmarks.measure import MeasurementError

GRACE_S = 10.0
"""Seconds for a process to end, which takes one second unless the benchmark was stopped during a measurement."""


@dataclass
class Child:
    """The parent's side."""

    process: subprocess.Popen[str]
    name: str
    facts: Any
    """What it wrote first, when it was ready."""

    @classmethod
    def start(cls, name: str, command: list[str], log_path: Path) -> Child:
        """Wait until it is ready; RuntimeError on failure."""
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.communicate()
            lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1][-300:] if lines else "it wrote nothing")
        return cls(process, name, json.loads(line))

    def ask(self, question: dict[str, Any]) -> Any:
        """The answer to one question; MeasurementError if the process ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise MeasurementError(f"{self.name} ended")
        return json.loads(line)

    def stop(self) -> None:
        """Close stdin, which ends the process; kill it if it still computes after GRACE_S."""
        try:
            self.process.communicate(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
