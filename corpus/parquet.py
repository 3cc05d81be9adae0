"""Ids and outputs of rows as columns of Parquet files, for both ways to embed a corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.columns import Arrays, Output
from corpus.rows import Id, import_pyarrow

_NAMES: dict[Output, str] = {"dense": "embedding", "sparse": "sparse_embedding", "multi_vector": "multi_vector"}


@dataclass(frozen=True)
class Columns:
    """The columns of a Parquet file: `id` (int64 or string), one for each output, and `constants`.

    `embedding` has D float32, `sparse_embedding` the lists indices (int32) and values (float32), and `multi_vector` a
    list of D float32 for each token.
    """

    numbers: bool
    """Whether ids are written as numbers."""
    outputs: Sequence[Output]
    widths: Mapping[str, int]
    """Output -> width of its vectors; sparse vectors have none."""
    metadata: Mapping[str, str]
    """Of the file."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """Name -> the text of all rows."""

    def writer(self, file: Any) -> Any:
        """A pyarrow.parquet.ParquetWriter for tables with these columns; vectors are not compressed."""
        _, parquet = import_pyarrow()
        snappy = ["id", "sparse_embedding.indices.list.element", *self.constants]
        return parquet.ParquetWriter(
            file,
            self._schema(),
            compression=dict.fromkeys(snappy, "snappy"),
            use_dictionary=list(self.constants),
            write_statistics=["id"],
        )

    def table(self, ids: Sequence[Id], arrays: Arrays) -> Any:
        """N rows as a pyarrow.Table. Vectors are not copied."""
        pyarrow, _ = import_pyarrow()
        schema = self._schema()
        written = ids if self.numbers else [str(each) for each in ids]
        columns = [pyarrow.array(written, schema.field("id").type)]
        columns += [_COLUMNS[each](pyarrow, schema.field(_NAMES[each]).type, arrays) for each in self.outputs]
        columns += [pyarrow.repeat(text, len(ids)) for text in self.constants.values()]
        return pyarrow.Table.from_arrays(columns, schema=schema)

    def _schema(self) -> Any:
        pyarrow, _ = import_pyarrow()
        number = pyarrow.float32()
        sparse = {"indices": pyarrow.list_(pyarrow.int32()), "values": pyarrow.list_(number)}
        types: dict[Output, Callable[[], Any]] = {
            "dense": lambda: pyarrow.list_(number, self.widths["dense"]),
            "sparse": lambda: pyarrow.struct(sparse),
            "multi_vector": lambda: pyarrow.list_(pyarrow.list_(number, self.widths["multi_vector"])),
        }
        columns = {"id": pyarrow.int64() if self.numbers else pyarrow.string()}
        columns |= {_NAMES[output]: types[output]() for output in self.outputs}
        columns |= dict.fromkeys(self.constants, pyarrow.string())
        fields = [pyarrow.field(name, kind, nullable=False) for name, kind in columns.items()]
        return pyarrow.schema(fields, metadata=dict(self.metadata))


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


_COLUMNS: dict[Output, Callable[[Any, Any, Arrays], Any]] = {
    "dense": _dense,
    "sparse": _sparse,
    "multi_vector": _multi_vector,
}
"""Output -> what makes its column from arrays, in the type of the schema."""


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """The start of each list, and the end of the last."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
