"""Parts to the one file that was asked for, in bounded memory, and the proof that it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import orjson

from corpus.finished import finished_file
from corpus.journal import Journal
from corpus.parts import Floats, read_part
from corpus.problems import CorpusError
from corpus.rows import Id, import_pyarrow

SUFFIXES = (".parquet", ".npy")

_GROUP_BYTES = 16 * 2**20
"""Vectors of one row group of a Parquet file."""


def ids_path(out: Path) -> Path:
    """Where the ids of a NumPy output lie, one JSON value a line."""
    return out.with_suffix(".ids.jsonl")


def outputs(out: Path) -> list[Path]:
    """Every file that a finished run leaves."""
    return [out, ids_path(out)] if out.suffix == ".npy" else [out]


def join(journal: Journal, folder: Path, out: Path) -> None:
    """Write the output from all parts; CorpusError unless it holds each row once, in the order of the input."""
    _check_ranges(journal)
    if out.suffix == ".npy":
        with finished_file(ids_path(out), folder) as ids, finished_file(out, folder) as vectors:
            _write_numpy(journal, folder, vectors, ids)
    else:
        with finished_file(out, folder) as file:
            _write_parquet(journal, folder, file)


def rows_in(out: Path) -> int:
    """How many vectors an output holds, read from its own header."""
    if out.suffix == ".npy":
        return len(np.load(out, mmap_mode="r", allow_pickle=False))
    _, parquet = import_pyarrow()
    return int(parquet.read_metadata(out).num_rows)


def _check_ranges(journal: Journal) -> None:
    """Each part begins where the one before it ends, and together they are the input."""
    stop = 0
    for part in journal.parts:
        if part.first != stop:
            raise CorpusError(f"{journal.path}: no part holds row {stop}. Begin anew with --restart.")
        stop = part.stop
    if journal.rows != journal.plan.good_rows:
        raise CorpusError(
            f"{journal.path}: {journal.rows} rows have vectors, but the input has {journal.plan.good_rows}. Begin anew "
            "with --restart."
        )


def _write_numpy(journal: Journal, folder: Path, vectors: IO[bytes], ids: IO[bytes]) -> None:
    """A float32 array (N, D), written one after the other: where the disk is full this fails as any write does."""
    shape = (journal.rows, journal.parts[0].dimensions)
    np.lib.format.write_array_header_1_0(vectors, {"descr": "<f4", "fortran_order": False, "shape": shape})
    for part in journal.parts:
        rows, names = read_part(folder, part)
        vectors.write(np.ascontiguousarray(rows, dtype="<f4").data)
        ids.writelines(orjson.dumps(name) + b"\n" for name in names)


def _write_parquet(journal: Journal, folder: Path, file: IO[bytes]) -> None:
    """Columns id (int64 or string) and embedding (a list of D float32)."""
    pyarrow, parquet = import_pyarrow()
    first = journal.parts[0]
    schema = pyarrow.schema(
        [
            pyarrow.field("id", pyarrow.int64() if journal.plan.ids == "numbers" else pyarrow.string(), nullable=False),
            pyarrow.field("embedding", pyarrow.list_(pyarrow.float32(), first.dimensions), nullable=False),
        ],
        metadata={"model": first.model, "dimensions": str(first.dimensions)},
    )
    compression = {"id": "snappy", "embedding.list.element": "none"}  # floats of vectors do not shrink
    with parquet.ParquetWriter(file, schema, compression=compression, use_dictionary=False) as writer:
        for vectors, ids in _groups(journal, folder):
            writer.write_table(_table(pyarrow, schema, vectors, _typed(ids, journal.plan.ids)))


def _groups(journal: Journal, folder: Path) -> Iterator[tuple[Floats, list[Id]]]:
    """Parts put together until they are worth a row group."""
    arrays: list[Floats] = []
    ids: list[Id] = []
    for part in journal.parts:
        vectors, names = read_part(folder, part)
        arrays.append(vectors)
        ids += names
        if sum(array.nbytes for array in arrays) >= _GROUP_BYTES:
            yield np.concatenate(arrays), ids
            arrays, ids = [], []
    if arrays:
        yield np.concatenate(arrays), ids


def _typed(ids: list[Id], kind: Literal["numbers", "texts"]) -> list[Id]:
    """One type for the whole column: numbers only where every id is one."""
    return ids if kind == "numbers" else [str(each) for each in ids]


def _table(pyarrow: Any, schema: Any, vectors: Floats, ids: list[Id]) -> Any:
    kind = schema.field("embedding").type
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), type=kind)
    return pyarrow.Table.from_arrays([pyarrow.array(ids, schema.field("id").type), column], schema=schema)
