"""The front-end benchmark runs against a service with a stub engine, and measures its CPU time."""

import sys
from pathlib import Path

from benchmarks.frontend import Checkout, measure, serve
from tests.serving import ROOT, copy_home


def test_cpu_time_per_request_is_measured(imported: Path, tmp_path: Path) -> None:
    server = serve(Checkout(ROOT, Path(sys.executable)), copy_home(imported, tmp_path / "home"))
    try:
        requests_per_s, cpu_us = measure(server, connections=2, window_s=1)
    finally:
        server.stop()
    assert requests_per_s > 0
    assert cpu_us > 0
