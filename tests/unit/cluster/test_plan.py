"""How a corpus is divided into shards, and what a shard reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from cluster.plan import Plan, Scan, read_plan, read_shard, scan
from cluster.storage import Place
from corpus.problems import CorpusError
from corpus.rows import Corpus, Start

TEXTS = [f"text {number}" for number in range(7)]


def write(folder: Path, file_format: str) -> Place:
    """The texts, in JSONL with an empty line, which is no row."""
    path = folder / f"corpus.{file_format}"
    if file_format == "jsonl":
        lines = [json.dumps({"text": text}) + "\n" for text in TEXTS]
        path.write_text("".join([*lines[:2], "\n", *lines[2:]]))
    elif file_format == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in TEXTS)])
    else:
        pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS}), path)
    return Place.of(str(path))


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("shard_rows", [2, 7, 100])
def test_shards_have_each_row_once_and_in_order(tmp_path: Path, file_format: str, shard_rows: int) -> None:
    place = write(tmp_path, file_format)
    corpus = Corpus(place, file_format, "text")
    scanned = scan(corpus, place, shard_rows, place / "bad")
    assert (scanned.rows, scanned.good, scanned.first_bad) == (7, 7, None)
    shards = list(Plan([], {}, [scanned]).shards())
    assert len(shards) == -(-7 // shard_rows)
    assert [row.text for shard in shards for row in read_shard(corpus, shard)] == TEXTS


def test_a_shard_of_jsonl_begins_at_its_first_byte(tmp_path: Path) -> None:
    place = write(tmp_path, "jsonl")
    (second,) = scan(Corpus(place, "jsonl", "text"), place, 4, place / "bad").starts[1:]
    content = Path(place.path).read_bytes()
    assert content[second.byte :].startswith(b'{"text": "text 4"}')
    assert content[: second.byte].count(b"\n") == second.line - 1


def test_names_of_shards_have_the_order_of_the_input() -> None:
    scans = [Scan(3, 3, True, [Start(), Start(number=2)]), Scan(0, 0, True, []), Scan(2, 1, False, [Start()])]
    plan = Plan([], {}, scans)
    shards = list(plan.shards())
    assert [(shard.file, shard.start.number, shard.stop, shard.before) for shard in shards] == [
        (0, 0, 2, 0),
        (0, 2, 3, 0),
        (2, 0, 2, 3),
    ]
    assert [shard.name for shard in shards] == sorted(shard.name for shard in shards)
    assert (plan.good, plan.numbers) == (4, False)


def test_invalid_rows_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "good"}\n{"text": ""}\nno JSON\n')
    place = Place.of(str(path))
    scanned = scan(Corpus(place, "jsonl", "text"), place, 10, Place.of(str(tmp_path / "bad.jsonl")))
    assert (scanned.rows, scanned.good) == (3, 1)
    assert scanned.first_bad == "corpus.jsonl, line 2: 'text' is empty"
    listed = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [row["place"] for row in listed] == ["line 2", "line 3"]


def test_a_plan_can_be_read_again(tmp_path: Path) -> None:
    out = Place.of(str(tmp_path))
    assert read_plan(out) is None
    plan = Plan([["a.jsonl", 10, 5]], {"text": "text"}, [Scan(2, 2, True, [Start()])])
    plan.write(out)
    assert read_plan(out) == plan
    assert [path.name for path in tmp_path.iterdir()] == ["_plan.json"]  # no unfinished file is left
    (tmp_path / "_plan.json").write_text('{"version": 0}')
    with pytest.raises(CorpusError, match="--restart"):
        read_plan(out)


def test_a_folder_has_the_files_below_it(tmp_path: Path) -> None:
    for name in ("b.csv", "a/a.jsonl", "_plan.json", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    files = Place.of(f"file://{tmp_path}").files()
    assert [(place.path, size) for place, size, _ in files] == [
        (f"{tmp_path}/{name}", 1) for name in ("a/a.jsonl", "b.csv")
    ]
    with pytest.raises(CorpusError, match="does not exist"):
        Place.of(str(tmp_path / "missing")).files()
    with pytest.raises(CorpusError, match="unknown://"):
        Place.of("unknown://x")
