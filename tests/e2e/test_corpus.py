"""A short run of corpus_endurance.py: with one SIGKILL of the script and one of the service, all rows are correct."""

from pathlib import Path

from tests.programs import corpus_endurance
from tests.serving import copy_home

ROWS = 600


def test_no_row_is_lost_or_duplicated(imported: Path, tmp_path: Path, weights: Path) -> None:
    kills: list[corpus_endurance.Kill] = ["SIGKILL of the script", "SIGKILL of the service"]
    home = copy_home(imported, tmp_path / "home")
    out, measured = corpus_endurance.endure(home, tmp_path, ROWS, kills, save_every_s=0)
    checked = corpus_endurance.check(out, ROWS, weights, sample=50)
    assert corpus_endurance.right(checked, ROWS), checked | measured
    assert measured["summary"]["rows"] == ROWS
