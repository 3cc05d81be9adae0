"""Join the parts to one output file, in bounded memory, and check that it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from corpus.columns import Arrays, concatenate, size
from corpus.finished import finished_file
from corpus.journal import Journal
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
    """Write the column id (int64 or string) and one for each output."""
    pyarrow, parquet = import_pyarrow()
    schema = _schema(pyarrow, journal)
    # vectors do not compress
    compression = {"id": "snappy", "sparse_embedding.indices.list.element": "snappy"}
    with parquet.ParquetWriter(file, schema, compression=compression, use_dictionary=False) as writer:
        for arrays, ids in _groups(journal, folder):
            columns = [pyarrow.array(_typed(ids, journal.plan.ids), schema.field("id").type)]
            columns += [_COLUMNS[field.name](pyarrow, field.type, arrays) for field in list(schema)[1:]]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def _schema(pyarrow: Any, journal: Journal) -> Any:
    """The columns of a run's outputs.

    `embedding` has D float32, `sparse_embedding` the lists indices (int32) and values (float32), and `multi_vector` a
    list of D float32 for each token.
    """
    first = journal.parts[0]
    number = pyarrow.float32()
    sparse = {"indices": pyarrow.list_(pyarrow.int32()), "values": pyarrow.list_(number)}
    types = {
        "dense": lambda: pyarrow.list_(number, first.widths["dense"]),
        "sparse": lambda: pyarrow.struct(sparse),
        "multi_vector": lambda: pyarrow.list_(pyarrow.list_(number, first.widths["multi_vector"])),
    }
    names = {"dense": "embedding", "sparse": "sparse_embedding", "multi_vector": "multi_vector"}
    columns = {"id": pyarrow.int64() if journal.plan.ids == "numbers" else pyarrow.string()}
    columns |= {names[output]: types[output]() for output in journal.plan.options["outputs"]}
    width = {"dimensions": str(first.widths["dense"])} if "dense" in first.widths else {}
    fields = [pyarrow.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pyarrow.schema(fields, metadata={"model": first.model} | width)


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


def _typed(ids: list[Id], kind: Literal["numbers", "texts"]) -> list[Id]:
    """Give all ids one type: numbers only if every id is a number."""
    return ids if kind == "numbers" else [str(each) for each in ids]


def _dense(pyarrow: Any, kind: Any, arrays: Arrays) -> Any:
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(arrays["dense"].reshape(-1)), type=kind)


def _sparse(pyarrow: Any, kind: Any, arrays: Arrays) -> Any:
    offsets = _offsets(arrays["sparse_lengths"])
    lists = [
        pyarrow.ListArray.from_arrays(offsets, pyarrow.array(arrays[f"sparse_{field.name}"]), type=field.type)
        for field in kind
    ]
    return pyarrow.StructArray.from_arrays(lists, fields=list(kind))


def _multi_vector(pyarrow: Any, kind: Any, arrays: Arrays) -> Any:
    numbers = pyarrow.array(arrays["token_vectors"].reshape(-1))
    vectors = pyarrow.FixedSizeListArray.from_arrays(numbers, type=kind.value_type)
    return pyarrow.ListArray.from_arrays(_offsets(arrays["token_lengths"]), vectors, type=kind)


_COLUMNS = {"embedding": _dense, "sparse_embedding": _sparse, "multi_vector": _multi_vector}
"""Column -> what makes it from arrays, in the type of the schema."""


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """The start of each list, and the end of the last."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
