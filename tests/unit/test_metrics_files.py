"""Metrics on a disk that is full: no worker dies of it, and /metrics still answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

import metrics_files
from metrics_files import FIRST_BYTES, ReservedDict
from tests.unit.sources import ROOT

LABELS = 1500
WORK = f"""
import resource, sys
import metrics_files
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a write beyond it fails, as one on a full disk does
metrics_files.install()
from prometheus_client import Counter, Gauge, Histogram

counter = Counter("counted", "It counts.", ["x"])
gauge = Gauge("level", "It shows.", ["x"], multiprocess_mode="livesum")
histogram = Histogram("measured", "It measures.", buckets=(1, 2))
for round in range(2):
    for number in range({LABELS}):
        counter.labels(f"{{number:0100}}").inc()
gauge.labels("a").set(7)
gauge.labels("a").set(5)
histogram.observe(1.5)
sys.stdout.write(metrics_files.gather().decode())
"""


def run(folder: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """A worker whose files may have so many bytes; 0: as many as they like."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", WORK, str(limit)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def check(ended: subprocess.CompletedProcess[str], times: int = 1) -> None:
    """The right numbers."""
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    counted = [line for line in lines if line.startswith("counted_total{")]
    assert len(counted) == LABELS
    assert {line.rsplit(" ", 1)[1] for line in counted} == {f"{2 * times}.0"}
    assert 'measured_bucket{le="1.0"} 0.0' in lines
    assert f'measured_bucket{{le="2.0"}} {times}.0' in lines
    assert 'level{x="a"} 5.0' in lines


def test_files_are_reserved_and_read_by_others(tmp_path: Path) -> None:
    check(run(tmp_path, 0))
    files = {path.name.rsplit("_", 1)[0]: path for path in tmp_path.iterdir()}
    assert set(files) == {"counter", "gauge_livesum", "histogram"}
    for path in files.values():
        assert path.stat().st_blocks * 512 >= path.stat().st_size >= FIRST_BYTES
    assert files["counter"].stat().st_size >= 2 * FIRST_BYTES  # it has grown
    keys = [key for key, *_ in MmapedDict.read_all_values_from_file(files["counter"])]
    assert len(keys) == LABELS
    files["gauge_livesum"].unlink()  # as the end of a worker does
    check(run(tmp_path, 0), times=2)


@pytest.mark.parametrize("limit", [1000, FIRST_BYTES, 2 * FIRST_BYTES])
def test_on_a_full_disk_the_values_stay_in_memory(tmp_path: Path, limit: int) -> None:
    """Full from the start, or when a file has to grow."""
    ended = run(tmp_path, limit)
    check(ended)
    assert ended.stderr.count("metrics are kept in memory because ") == 1
    assert not list(tmp_path.glob("counter_*.db"))


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    check(run(tmp_path / "gone", 0))


def test_what_is_in_memory_is_forgotten_when_it_is_closed(tmp_path: Path) -> None:
    name = str(tmp_path / "gone" / "counter_1.db")
    kept = ReservedDict(name)
    kept.write_value("key", 1.0, 2.0)
    assert kept.read_value("key") == (1.0, 2.0)
    assert [each[:3] for each in ReservedDict.read_all_values_from_file(name)] == [("key", 1.0, 2.0)]
    kept.close()
    assert name not in ReservedDict.in_memory


@pytest.mark.parametrize("length", range(20))
def test_the_size_of_a_key_is_the_clients(tmp_path: Path, length: int) -> None:
    values = MmapedDict(str(tmp_path / "values.db"))
    before = values._used
    values.read_value("k" * length)
    assert values._used - before == metrics_files._padded(length) + 16
    values.close()
