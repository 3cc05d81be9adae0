"""Join the parts to one output file, in bounded memory, and check that it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import orjson

from corpus.columns import Arrays, concatenate, size
from corpus.finished import finished_file
from corpus.journal import Journal
from corpus.parquet import Columns
from corpus.parts import read_part
from corpus.problems import CorpusError
from corpus.rows import Id, import_pyarrow

SUFFIXES = (".parquet", ".jsonl", ".npy")

_GROUP_BYTES = 16 * 2**20
"""Minimum size of the outputs in a row group of a Parquet file."""


def ids_path(out: Path) -> Path:
    """The file with the ids of a NumPy output, one JSON value per line."""
    return out.with_suffix(".ids.jsonl")


def outputs(out: Path) -> list[Path]:
    """All files that a finished run leaves."""
    return [out, ids_path(out)] if out.suffix == ".npy" else [out]


def join(journal: Journal, folder: Path, out: Path) -> None:
    """Write the output from all parts; CorpusError unless the parts contain each row once, in order."""
    _check_ranges(journal)
    if out.suffix == ".npy":
        with finished_file(ids_path(out), folder) as ids, finished_file(out, folder) as vectors:
            _write_numpy(journal, folder, vectors, ids)
    else:
        with finished_file(out, folder) as file:
            write = _write_json_lines if out.suffix == ".jsonl" else _write_parquet
            write(journal, folder, file)


def rows_in(out: Path) -> int:
    """The number of vectors in an output, read from its header or counted."""
    if out.suffix == ".npy":
        return len(np.load(out, mmap_mode="r", allow_pickle=False))
    if out.suffix == ".jsonl":
        with out.open("rb") as file:
            return sum(1 for _ in file)
    _, parquet = import_pyarrow()
    return int(parquet.read_metadata(out).num_rows)


def _check_ranges(journal: Journal) -> None:
    """Check that the parts are contiguous and cover the input."""
    stop = 0
    for part in journal.parts:
        if part.first != stop:
            raise CorpusError(f"{journal.path}: no part contains row {stop}. Start over with --restart.")
        stop = part.stop
    if journal.rows != journal.plan.good_rows:
        raise CorpusError(
            f"{journal.path}: {journal.rows} rows have vectors, but the input has {journal.plan.good_rows}. Start over "
            "with --restart."
        )


def _write_numpy(journal: Journal, folder: Path, vectors: IO[bytes], ids: IO[bytes]) -> None:
    """Write a float32 array (N, D) and its ids sequentially, so that a full disk raises OSError."""
    shape = (journal.rows, journal.parts[0].widths["dense"])
    np.lib.format.write_array_header_1_0(vectors, {"descr": "<f4", "fortran_order": False, "shape": shape})
    for part in journal.parts:
        arrays, names = read_part(folder, part)
        vectors.write(np.ascontiguousarray(arrays["dense"], dtype="<f4").data)
        ids.writelines(orjson.dumps(name) + b"\n" for name in names)


def _write_json_lines(journal: Journal, folder: Path, file: IO[bytes]) -> None:
    """Write an object with id and embedding per line."""
    for part in journal.parts:
        arrays, names = read_part(folder, part)
        for vector, name in zip(arrays["dense"], names, strict=True):
            line = {"id": name, "embedding": np.ascontiguousarray(vector)}
            file.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


def _write_parquet(journal: Journal, folder: Path, file: IO[bytes]) -> None:
    """Write the column id and one for each output."""
    first = journal.parts[0]
    width = {"dimensions": str(first.widths["dense"])} if "dense" in first.widths else {}
    columns = Columns(
        numbers=journal.plan.ids == "numbers",
        outputs=journal.plan.options["outputs"],
        widths=first.widths,
        metadata={"model": first.model} | width,
    )
    with columns.writer(file) as writer:
        for arrays, ids in _groups(journal, folder):
            writer.write_table(columns.table(ids, arrays))


def _groups(journal: Journal, folder: Path) -> Iterator[tuple[Arrays, list[Id]]]:
    """Concatenate parts to row groups."""
    parts: list[Arrays] = []
    ids: list[Id] = []
    for part in journal.parts:
        arrays, names = read_part(folder, part)
        parts.append(arrays)
        ids += names
        if sum(map(size, parts)) >= _GROUP_BYTES:
            yield concatenate(parts), ids
            parts, ids = [], []
    if parts:
        yield concatenate(parts), ids
