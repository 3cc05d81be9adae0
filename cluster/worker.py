"""Compute a shard: read its rows, embed them, and write one Parquet file. Runs on the nodes of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cluster.plan import Shard, read_shard
from cluster.storage import Place
from corpus.parquet import Columns
from corpus.problems import CorpusError
from corpus.rows import Corpus, Id, Row, import_pyarrow
from errors import ServiceError
from in_process import Embedder
from runners.contracts import Vectors


@dataclass(frozen=True)
class Done:
    """Facts about a finished shard."""

    rows: int
    tokens: int
    truncated: int
    dimensions: int
    model: str
    revision: str


@dataclass
class ShardWorker:
    """Computes shards; Ray Data gives it their places in `shards`, one at a time."""

    embedder: Embedder
    corpora: Sequence[Corpus]
    shards: Sequence[Shard]
    out: Place
    numbers: bool
    """Whether ids are written as numbers."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Ray Data's form of a batch: columns of one row."""
        done = self.embed(self.shards[int(batch["shard"][0])])
        return {name: np.array([value]) for name, value in asdict(done).items()}

    def embed(self, shard: Shard) -> Done:
        """Embed a shard and write its file; CorpusError if its rows are rejected."""
        corpus = self.corpora[shard.file]
        rows = read_shard(corpus, shard)
        if not rows:
            return Done(0, 0, 0, 0, "", "")
        try:
            result = self.embedder([row.text for row in rows])
            revision = self.embedder.revision
        except ServiceError as error:
            raise CorpusError(_rejection(error, corpus, rows)) from None
        ids = [row.id if corpus.id_field else shard.before + row.number for row in rows]
        done = Done(
            rows=len(rows),
            tokens=result.prompt_tokens,
            truncated=len(result.truncated),
            dimensions=result.dense.shape[1],
            model=str(self.embedder.model),
            revision=revision,
        )
        (self.out / shard.name).write(_parquet(ids, result.dense, done, numbers=self.numbers))
        return done


def _parquet(ids: Sequence[Id], vectors: Vectors, done: Done, *, numbers: bool) -> Any:
    """A Parquet file with the columns id, embedding, model and revision."""
    pyarrow, _ = import_pyarrow()
    columns = Columns(
        numbers=numbers,
        outputs=("dense",),
        widths={"dense": done.dimensions},
        metadata={name: str(value) for name, value in asdict(done).items()},
        constants={"model": done.model, "revision": done.revision},
    )
    buffer = pyarrow.BufferOutputStream()
    with columns.writer(buffer) as writer:
        writer.write_table(columns.table(ids, {"dense": vectors}))
    return buffer.getvalue()


def read_done(place: Place) -> Done | None:
    """Facts about a shard that an earlier run finished; None if the file is missing or is not of this program."""
    pyarrow, parquet = import_pyarrow()
    try:
        with place.open() as file:
            metadata = parquet.read_schema(file).metadata or {}
        values = {name.decode(): value.decode() for name, value in metadata.items()}
        counts = {name: int(values[name]) for name in ("rows", "tokens", "truncated", "dimensions")}
        return Done(**counts, model=values["model"], revision=values["revision"])
    except (FileNotFoundError, pyarrow.ArrowException, KeyError, ValueError):
        return None


def _rejection(error: ServiceError, corpus: Corpus, rows: Sequence[Row]) -> str:
    """The error with the row that it concerns, if it concerns one."""
    index = (error.param or "").removeprefix("input.")
    if not index.isdigit():
        return error.message
    place = f"{corpus.path.name}, {rows[int(index)].place}"
    return f"{place}: {error.message.replace(f'input.{index}', 'the text', 1)}"
