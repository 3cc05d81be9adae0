"""The plan of a run: the input files, their rows, and the shards into which they are divided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise, takewhile
from typing import IO, Any, Literal

import orjson

from cluster.storage import Place
from corpus.problems import CorpusError
from corpus.rows import BadRow, Corpus, Row, Start

_VERSION = 1
PLAN, BAD = "_plan.json", "_bad.{:05}.jsonl"
"""Files beside the shards. Programs that read folders of Parquet files leave out names that begin with `_`."""


@dataclass(frozen=True)
class Scan:
    """What a file contains: its rows, those of them that are valid, and the first row of each shard."""

    rows: int
    good: int
    numbers: bool
    """Whether all ids are whole numbers of 64 bits."""
    starts: Sequence[Start]
    first_bad: str | None = None
    """The first invalid row and what is wrong with it."""


@dataclass(frozen=True)
class Shard:
    """The rows `start.number` to `stop` - 1 of a file. `before` is the number of rows in the files before it."""

    file: int
    start: Start
    stop: int
    before: int

    @property
    def name(self) -> str:
        """The name of its output; the order of the names is that of the input."""
        return f"part-{self.file:05}-{self.start.number:012}.parquet"


@dataclass(frozen=True)
class Plan:
    """The input and options of a run; only a run with the same ones can resume it."""

    input: list[list[Any]]
    """Path, size and time of the last change of each file."""
    options: dict[str, Any]
    scans: list[Scan]
    version: int = _VERSION

    @property
    def numbers(self) -> bool:
        """Whether the ids are written as numbers."""
        return all(scan.numbers for scan in self.scans)

    @property
    def good(self) -> int:
        """Rows to embed."""
        return sum(scan.good for scan in self.scans)

    def shards(self) -> Iterator[Shard]:
        """All shards, in the order of the input."""
        before = 0
        for file, scan in enumerate(self.scans):
            for start, stop in pairwise([*scan.starts, Start(number=scan.rows)]):
                yield Shard(file, start, stop.number, before)
            before += scan.rows

    def write(self, out: Place) -> None:
        """Save the plan beside the shards."""
        (out / PLAN).write(orjson.dumps(asdict(self)))


def read_plan(out: Place) -> Plan | None:
    """The plan of an earlier run; None if there is none. CorpusError if it is not readable."""
    if (content := (out / PLAN).read()) is None:
        return None
    try:
        values = orjson.loads(content)
        scans = [Scan(**scan | {"starts": [Start(**start) for start in scan["starts"]]}) for scan in values["scans"]]
        plan = Plan(**values | {"scans": scans})
    except (ValueError, KeyError, TypeError):
        plan = None
    if plan is None or plan.version != _VERSION:
        raise CorpusError(f"{out.path}/{PLAN} was not written by this version. Start over with --restart.")
    return plan


def read_shard(corpus: Corpus, shard: Shard) -> list[Row]:
    """The valid rows of a shard of this file."""
    rows = replace(corpus, start=shard.start).rows(shard.start.number)
    return [row for row in takewhile(lambda row: row.number < shard.stop, rows) if isinstance(row, Row)]


@dataclass
class _Watched:
    """A file whose position can be asked while its rows are read."""

    place: Place
    file: IO[bytes] = field(init=False)

    @property
    def name(self) -> str:
        return self.place.name

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        self.file = self.place.open(mode)
        return self.file


def scan(corpus: Corpus, place: Place, shard_rows: int, bad: Place) -> Scan:
    """Read a file once, so that errors do not appear after hours; list its invalid rows in the file `bad`."""
    watched = _Watched(place)
    good, numbers = 0, True
    starts = [Start()]
    wrong: list[bytes] = []
    first: BadRow | None = None
    stop = 0
    for row in replace(corpus, path=watched).rows():
        stop = row.number + 1
        if isinstance(row, Row):
            good += 1
            numbers = numbers and isinstance(row.id, int) and -(2**63) <= row.id < 2**63
        else:
            first = first or row
            content = {"row": row.number, "place": row.place, "reason": row.reason, "content": row.content}
            wrong.append(orjson.dumps(content, default=str) + b"\n")
        if stop % shard_rows == 0:
            starts.append(_after(row, watched, corpus.format))
    if wrong:
        bad.write(b"".join(wrong))
    starts = [start for start in starts if start.number < stop]
    return Scan(stop, good, numbers, starts, f"{place.name}, {first.place}: {first.reason}" if first else None)


def _after(row: Row | BadRow, watched: _Watched, file_format: str) -> Start:
    """Where the next row begins. Only JSONL can be read from there; other formats are skipped up to its number."""
    if file_format != "jsonl":
        return Start(number=row.number + 1)
    return Start(watched.file.tell(), row.number + 1, int(row.place.removeprefix("line ")) + 1)
