"""The front-end benchmark runs: a service whose engine computes nothing answers, and its processor time is read."""

import sys
from pathlib import Path

from benchmarks.frontend import Checkout, measure, serve
from tests.serving import ROOT, copy_home


def test_a_request_costs_something(imported: Path, tmp_path: Path) -> None:
    server = serve(Checkout(ROOT, Path(sys.executable)), copy_home(imported, tmp_path / "home"))
    try:
        requests_per_s, cpu_us = measure(server, connections=2, window_s=1)
    finally:
        server.stop()
    assert requests_per_s > 0
    assert cpu_us > 0
