"""A short run of ray_corpus.py: a node of a Ray cluster is killed half-way, and all rows are correct."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT, child_environment, copy_home

ROWS, SHARD_ROWS = 2000, 100


def test_no_row_is_lost_or_duplicated_with_a_node(imported: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is optional: pip install -r requirements-ray.txt")
    home = copy_home(imported, tmp_path / "home")
    command = [sys.executable, "-m", "tests.programs.ray_corpus", "--home", str(home), "--sample", "50"]
    command += ["--rows", str(ROWS), "--shard-rows", str(SHARD_ROWS)]
    done = subprocess.run(
        command, cwd=ROOT, env=child_environment(home, {}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert 0 < report["shards_at_the_kill"] < ROWS // SHARD_ROWS
    assert report["summary"]["rows"] == ROWS
