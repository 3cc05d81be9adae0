"""A short run of soak.py: all requests of 64 connections succeed."""

import json
import subprocess
import sys

from tests.programs import soak
from tests.serving import ROOT, Served


def test_all_requests_succeed_under_load(served: Served) -> None:
    (worker,) = served.workers()
    options = ["--url", served.url, "--seconds", "5", "--pid", str(worker.pid)]
    command = [sys.executable, "-m", "tests.programs.soak", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    report = json.loads(done.stdout)
    assert soak.failures(report) == 0, report
    assert report["requests"] > soak.CONNECTIONS
    assert report["livez_polls"] > 100
