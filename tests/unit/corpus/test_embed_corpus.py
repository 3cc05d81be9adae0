"""./embeddings embed where nothing goes wrong: formats in and out, what is sent, what is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from corpus import embedding, output
from corpus import run as corpus_run
from corpus.embedding import BATCH_TEXT_BYTES, batches
from corpus.progress import Busy, Progress, duration
from corpus.rows import Row
from tests.unit.corpus.conftest import ROWS, Run
from tests.unit.corpus.corpus_service import DIMENSIONS, MODEL, FakeService, error, sparse_of, vector_of
from tests.unit.fakes import Clock

OUTPUT_COLUMNS = {"dense": "embedding", "sparse": "sparse_embedding", "multi_vector": "multi_vector"}


def test_numpy(run: Run, texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    run.check(texts)
    assert run.vectors.dtype == np.float32
    assert run.ids == list(range(ROWS))
    words = capsys.readouterr().out
    assert f"{ROWS} rows of {DIMENSIONS} numbers by {MODEL}" in words
    assert f"{ROWS * 5} tokens" in words
    assert "texts cut: 0; rows left out: 0; engine busy: " in words


@pytest.mark.parametrize("field", [None, "sku"])
def test_parquet(run: Run, texts: list[str], field: str | None) -> None:
    run.out = "out.parquet"
    assert run(*(["--id", field] if field else [])) == 0
    table = pyarrow.parquet.read_table(run.folder / run.out)
    assert table.schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), DIMENSIONS)
    assert table.schema.field("id").type == (pyarrow.string() if field else pyarrow.int64())
    assert table["id"].to_pylist() == [f"s{number}" if field else number for number in range(ROWS)]
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), [vector_of(t) for t in texts])
    assert table.schema.metadata[b"model"] == MODEL.encode()


@pytest.mark.parametrize("outputs", ["dense,sparse,multi_vector", "multi_vector", "sparse"])
def test_outputs_become_columns(run: Run, fake: FakeService, texts: list[str], outputs: str) -> None:
    run.out = "out.parquet"
    fake.answers = {5: lambda: error(400, "no")}
    assert run("--outputs", outputs, "--parallel", "1") == 1
    fake.answers = {}
    assert "25 of 50 rows are done; resuming." in run.fails("--outputs", outputs, status=0)
    table = pyarrow.parquet.read_table(run.folder / run.out)
    assert table.column_names == ["id", *(OUTPUT_COLUMNS[name] for name in outputs.split(","))]
    for row, text in zip(table.to_pylist(), texts, strict=True):
        if "dense" in outputs:
            np.testing.assert_array_equal(np.array(row["embedding"], np.float32), vector_of(text))
        if "sparse" in outputs:
            assert row["sparse_embedding"] == sparse_of(text)
        if "multi_vector" in outputs:
            words = [vector_of(word) for word in text.split()]
            np.testing.assert_array_equal(np.array(row["multi_vector"], np.float32), words)


def test_unknown_and_unfit_outputs_are_rejected(run: Run) -> None:
    assert "Choose --out NAME.parquet" in run.fails("--outputs", "sparse")
    assert "must be of dense, sparse, multi_vector" in run.fails("--outputs", "dense,colbert", status=2)


def test_small_parts_become_few_row_groups(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_GROUP_BYTES", 20 * DIMENSIONS * 4)
    run.out = "out.parquet"
    assert run() == 0
    metadata = pyarrow.parquet.read_metadata(run.folder / run.out)
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [20, 20, 10]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_csv(run: Run, name: str) -> None:
    texts = ["one, two", 'a "quote"', "two\nlines", "瑠璃色"]
    with (run.folder / name).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter="," if name.endswith("csv") else "\t")
        writer.writerows([["sku", "body"], *([f"s{n}", each] for n, each in enumerate(texts))])
    assert run("--text", "body", "--id", "sku", rows=name) == 0
    run.check(texts)
    assert run.ids == ["s0", "s1", "s2", "s3"]


def test_parquet_input(run: Run, texts: list[str]) -> None:
    table = pyarrow.table({"n": list(range(100, 100 + ROWS)), "text": texts, "other": [[1]] * ROWS})
    pyarrow.parquet.write_table(table, run.folder / "rows.parquet", row_group_size=7)
    assert run("--id", "n", rows="rows.parquet") == 0
    run.check(texts)
    assert run.ids == list(range(100, 100 + ROWS))


def test_ids_of_both_kinds_become_texts(run: Run) -> None:
    (run.folder / "mixed.jsonl").write_text('{"text":"a","k":7}\n\n{"text":"b","k":"x"}\n')
    run.out = "out.parquet"
    assert run("--id", "k", rows="mixed.jsonl") == 0
    assert pyarrow.parquet.read_table(run.folder / run.out)["id"].to_pylist() == ["7", "x"]


def test_every_option_reaches_the_service(run: Run, fake: FakeService) -> None:
    (run.folder / "key").write_text("secret\n")
    options = ["--model", "m", "--input-type", "document", "--dimensions", "4", "--truncate", "NONE", "--priority", "7"]
    assert run(*options, "--api-key-file", str(run.folder / "key")) == 0
    body = {name: value for name, value in fake.bodies[0].items() if name != "input"}
    assert body == {
        "model": "m",
        "input_type": "document",
        "dimensions": 4,
        "truncate": "NONE",
        "priority": 7,
        "encoding_format": "base64",
    }
    assert set(fake.keys) == {"Bearer secret"}
    assert run.vectors.shape == (ROWS, 4)


def test_by_default_little_is_sent(run: Run, fake: FakeService) -> None:
    assert run() == 0
    assert all(body.keys() == {"input", "encoding_format", "priority"} for body in fake.bodies)
    assert {body["priority"] for body in fake.bodies} == {500}
    assert max(len(body["input"]) for body in fake.bodies) == 5
    assert set(fake.keys) == {None}


def test_summary_for_programs(run: Run, fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.warnings = ["input.0 was cut from 302 tokens to the model's limit of 256.", "dimensions 8 is unusual."]
    assert run("--json") == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["rows"], summary["tokens"], summary["truncated"]) == (ROWS, ROWS * 5, ROWS // 5)
    assert captured.err.count("dimensions 8 is unusual.") == 1


def test_batches_keep_below_a_size_and_leave_wrong_rows_out() -> None:
    long = "x" * (BATCH_TEXT_BYTES // 2)
    rows = [Row(n, "", n, each) for n, each in enumerate(["a", "b", "c", long, long, long * 3, "d"])]
    made = list(batches(iter(rows), 2))
    assert [[row.number for row in batch.rows] for batch in made] == [[0, 1], [2, 3], [4], [5], [6]]
    assert [batch.stop for batch in made] == [2, 4, 5, 6, 7]


def test_memory_is_bounded(run: Run, fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the corpus, so many rows are read ahead and no more."""
    read, most_ahead = 0, 0
    real = batches

    def counted(*arguments: object) -> object:
        nonlocal read, most_ahead
        for batch in real(*arguments):  # type: ignore[arg-type]  # what the script hands on
            read += len(batch.rows)
            most_ahead = max(most_ahead, read - len(fake.texts))
            yield batch

    monkeypatch.setattr(corpus_run, "batches", counted)
    (run.folder / "long.jsonl").write_text("".join(f'{{"text":"row {n}"}}\n' for n in range(200)))
    assert run("--parallel", "2", "--save-every", "60", rows="long.jsonl") == 0
    assert read == 200
    assert most_ahead <= 2 * embedding._AHEAD * 5


def test_lines_instead_of_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    shown = Progress("embedding", done=1000, total=5000, clock=clock)
    for _ in range(4):
        clock.now += 10
        shown.add(500, 4000)
    assert capsys.readouterr().err == ("embedding: 2,500 of 5,000 rows (50.0%), 50 rows/s, 400 tokens/s, 50 s left\n")


@pytest.mark.parametrize(("seconds", "words"), [(42.4, "42 s"), (300, "5 min"), (7500, "2 h 5 min")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_busy_leaves_out_the_time_in_which_the_service_was_away() -> None:
    busy = Busy()
    assert busy.share is None
    for place, seconds in enumerate((10.0, 14.5, None, 0.0, 0.5, 5.5, 1.0, 5.5)):
        busy.note(seconds, 5.0 * place)
    assert busy.share == pytest.approx(14 / 15)


def test_files_without_a_known_name_need_a_format(run: Run) -> None:
    (run.folder / "corpus.txt").write_bytes((run.folder / "corpus.jsonl").read_bytes())
    assert "--format jsonl" in run.fails(rows="corpus.txt")
    assert run("--format", "jsonl", rows="corpus.txt") == 0


def test_parquet_without_pyarrow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (run.folder / "rows.parquet").write_bytes(b"")
    assert "pip install pyarrow" in run.fails(rows="rows.parquet")
    assert list(Path(run.folder).glob("*.parts")) == []
    assert run() == 0
