"""Stream the rows of a JSONL, CSV or Parquet file, including invalid ones."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePath
from typing import IO, Any, Literal, Protocol

import orjson

from corpus.problems import CorpusError

MAX_ROW_BYTES = 64 * 2**20
"""Limit of a line or CSV field: a longer one means another format or an unclosed quote."""

_PARQUET_ROWS = 1024
"""Rows of a Parquet file in memory at once."""

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
FORMATS = ("jsonl", "csv", "tsv", "parquet")

Id = int | str


@dataclass(frozen=True)
class Row:
    """A text to embed; `number` counts input rows from 0, `place` describes the row in messages."""

    number: int
    place: str
    id: Id
    text: str


@dataclass(frozen=True)
class BadRow:
    """An invalid row and its content."""

    number: int
    place: str
    reason: str
    content: Any


Rows = Iterator[Row | BadRow]


class Source(Protocol):
    """A file: a pathlib.Path, or a file of object storage."""

    @property
    def name(self) -> str:
        """Its name without folders."""
        ...

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """Open it for reading."""
        ...


@dataclass(frozen=True)
class Start:
    """Where a row of a JSONL file begins: its byte, its number and its line."""

    byte: int = 0
    number: int = 0
    line: int = 1


@dataclass(frozen=True)
class Corpus:
    """A file and the names of its fields; if `id_field` is None, a row's id is its number."""

    path: Source
    format: str
    text_field: str
    id_field: str | None = None
    start: Start = Start()
    """A row from which a JSONL file is read; it is not after the first row that is wanted."""

    def rows(self, first: int = 0) -> Rows:
        """The rows from number `first` on; CorpusError if the file cannot be read."""
        readers: dict[str, Callable[[Corpus, int], Rows]] = {
            "jsonl": _json_lines,
            "csv": _csv,
            "tsv": _csv,
            "parquet": _parquet,
        }
        return readers[self.format](self, first)

    @property
    def fields(self) -> list[str]:
        """The fields to read."""
        return [self.text_field, *([self.id_field] if self.id_field else [])]

    def row(self, number: int, place: str, values: dict[str, Any], content: Any = None) -> Row | BadRow:
        """Make a row from the values of its fields, if they are valid."""
        text = values.get(self.text_field)
        row_id = number if self.id_field is None else values.get(self.id_field)
        reason = _find_text_problem(self.text_field, text) or _find_id_problem(self.id_field, row_id)
        if reason is not None:
            return BadRow(number, place, reason, values if content is None else content)
        assert isinstance(text, str)
        assert isinstance(row_id, int | str)
        return Row(number, place, row_id, text)


def format_of(path: PurePath) -> str:
    """The format according to a file's suffix; CorpusError if the suffix is unknown."""
    if (file_format := _SUFFIXES.get(path.suffix.lower())) is None:
        raise CorpusError(f"{path.name}: the suffix does not tell the format. Set --format {'|'.join(FORMATS)}.")
    return file_format


def _find_text_problem(field: str, text: object) -> str | None:
    if text is None:
        return f"has no {field!r}"
    if not isinstance(text, str):
        return f"{field!r} is not a text"
    if not text.strip():
        return f"{field!r} is empty"
    return _find_encoding_problem(field, text)


def _find_id_problem(field: str | None, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return f"has no {field!r}" if value is None else f"{field!r} is neither a text nor a whole number"
    return _find_encoding_problem(field, value) if isinstance(value, str) else None


def _find_encoding_problem(field: str | None, text: str) -> str | None:
    """Invalid UTF-8 was decoded to lone surrogates, which cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{field!r} is not valid UTF-8"
    return None


def _json_lines(corpus: Corpus, first: int) -> Rows:
    number = corpus.start.number - 1
    with corpus.path.open("rb") as file:
        file.seek(corpus.start.byte)
        for line_number in count(corpus.start.line):
            if not (line := file.readline(MAX_ROW_BYTES + 1)):
                return
            if len(line) > MAX_ROW_BYTES:
                raise CorpusError(
                    f"{corpus.path.name}: line {line_number} is longer than {MAX_ROW_BYTES} bytes. JSONL must have one "
                    "object per line."
                )
            if line_number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            number += 1
            if number >= first:
                yield _json_row(corpus, number, f"line {line_number}", line)


def _json_row(corpus: Corpus, number: int, place: str, line: bytes) -> Row | BadRow:
    content = line.decode(errors="replace").rstrip("\r\n")
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadRow(number, place, f"is not JSON: {error.msg}", content)
    if not isinstance(values, dict):
        return BadRow(number, place, "is not a JSON object", content)
    return corpus.row(number, place, values)


def _csv(corpus: Corpus, first: int) -> Rows:
    csv.field_size_limit(MAX_ROW_BYTES)
    delimiter = "\t" if corpus.format == "tsv" else ","
    with (
        corpus.path.open("rb") as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
    ):
        reader = csv.reader(file, delimiter=delimiter)
        try:
            header = next(reader, None)
            if header is None:
                raise CorpusError(f"{corpus.path.name} is empty; a CSV file must begin with its column names.")
            _require(corpus, header)
            number, line_number = -1, reader.line_num + 1
            for values in reader:
                place, line_number = f"line {line_number}", reader.line_num + 1
                if not values:
                    continue
                number += 1
                if number >= first:
                    yield _csv_row(corpus, number, place, header, values)
        except csv.Error as error:
            raise CorpusError(
                f"{corpus.path.name}, line {reader.line_num}: {error}. An earlier quote may not be closed."
            ) from None


def _csv_row(corpus: Corpus, number: int, place: str, header: list[str], values: list[str]) -> Row | BadRow:
    if len(values) != len(header):
        return BadRow(number, place, f"has {len(values)} columns; the header has {len(header)}", _clean(values))
    row = corpus.row(number, place, dict(zip(header, values, strict=True)))
    return BadRow(number, place, row.reason, _clean(values)) if isinstance(row, BadRow) else row


def _clean(values: list[str]) -> list[str]:
    return [value.encode(errors="surrogateescape").decode(errors="replace") for value in values]


def _parquet(corpus: Corpus, first: int) -> Rows:
    pyarrow, parquet = import_pyarrow()
    try:
        source = corpus.path if isinstance(corpus.path, Path) else corpus.path.open("rb")
        with parquet.ParquetFile(source, pre_buffer=False, buffer_size=2**20) as file:
            _require(corpus, list(file.schema_arrow.names))
            number, group = 0, 0
            while group < file.num_row_groups and number + file.metadata.row_group(group).num_rows <= first:
                number += file.metadata.row_group(group).num_rows
                group += 1
            groups = list(range(group, file.num_row_groups))
            for batch in file.iter_batches(_PARQUET_ROWS, row_groups=groups, columns=corpus.fields):
                start, number = number, number + batch.num_rows
                for offset, values in enumerate(batch.to_pylist() if number > first else [], start):
                    if offset >= first:
                        yield corpus.row(offset, f"row {offset}", values)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise CorpusError(f"{corpus.path.name} cannot be read as Parquet: {error}") from None


def _require(corpus: Corpus, columns: list[str]) -> None:
    for field, option in zip(corpus.fields, ("--text", "--id"), strict=False):
        if field not in columns:
            raise CorpusError(
                f"{corpus.path.name} has no column {field!r}; its columns are {', '.join(columns)}. Name one with "
                f"{option}."
            )


def import_pyarrow() -> tuple[Any, Any]:
    """Import pyarrow and pyarrow.parquet, which only Parquet needs; CorpusError if they are missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise CorpusError(
            "Parquet needs pyarrow: pip install pyarrow. JSONL and CSV input and NumPy output (--out NAME.npy) do not."
        ) from None
    return pyarrow, pyarrow.parquet
