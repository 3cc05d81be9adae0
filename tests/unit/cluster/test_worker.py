"""One shard: its file, what a later run reads from it, and errors that name the row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from cluster.plan import Shard
from cluster.storage import Place
from cluster.worker import Done, ShardWorker, read_done
from corpus.problems import CorpusError
from corpus.rows import Corpus, Start
from errors import InputTooLongError
from tests.command_line import run
from tests.unit.cluster.conftest import FakeEmbedder

DONE = Done(rows=2, tokens=20, truncated=0, dimensions=3, model="tiny", revision="abc")


def worker(tmp_path: Path, lines: str, *, id_field: str | None = None, numbers: bool = True) -> ShardWorker:
    path = tmp_path / "corpus.jsonl"
    path.write_text(lines)
    corpus = Corpus(Place.of(str(path)), "jsonl", "text", id_field)
    embedder: Any = FakeEmbedder()
    return ShardWorker(embedder, [corpus], [Shard(0, Start(), 3, before=100)], Place.of(str(tmp_path)), numbers)


def test_the_file_of_a_shard(tmp_path: Path) -> None:
    made = worker(tmp_path, '{"text": "a"}\n{"text": ""}\n{"text": "ccc"}\n')
    assert {name: column[0] for name, column in made({"shard": np.array([0])}).items()} == vars(DONE)
    place = Place.of(str(tmp_path / made.shards[0].name))
    assert pyarrow.parquet.read_table(place.path).to_pylist() == [
        {"id": 100, "embedding": [1, 0, 1], "model": "tiny", "revision": "abc"},
        {"id": 102, "embedding": [3, 0, 1], "model": "tiny", "revision": "abc"},
    ]
    assert read_done(place) == DONE
    Path(place.path).write_bytes(b"PAR1")
    assert read_done(place) is None


def test_ids_of_different_kinds_are_written_as_texts(tmp_path: Path) -> None:
    made = worker(tmp_path, '{"text": "a", "sku": 7}\n{"text": "b", "sku": "x"}\n', id_field="sku", numbers=False)
    made.embed(made.shards[0])
    assert pyarrow.parquet.read_table(tmp_path / made.shards[0].name)["id"].to_pylist() == ["7", "x"]


def test_an_error_names_the_row(tmp_path: Path) -> None:
    made = worker(tmp_path, '{"text": "a"}\n\n{"text": "b"}\n')
    FakeEmbedder.error = InputTooLongError("input.1 has 9 tokens", param="input.1")
    try:
        with pytest.raises(CorpusError, match=r"^corpus.jsonl, line 3: the text has 9 tokens$"):
            made.embed(made.shards[0])
    finally:
        FakeEmbedder.error = None


def test_a_shard_without_valid_rows_has_no_file(tmp_path: Path) -> None:
    made = worker(tmp_path, '{"text": ""}\n')
    assert made.embed(made.shards[0]).rows == 0
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_without_ray_a_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run("embed", "--file", tmp_path, "--out", tmp_path / "out", "--on", "ray") == 1
    assert capsys.readouterr().err == "--on ray needs Ray: pip install -r requirements-ray.txt\n"
