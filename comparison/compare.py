"""Compare models: import each, measure it in a child process, and compute the quality of its rankings."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from comparison.data import Data
from comparison.measure import Job, Measured, result_path
from comparison.metrics import ndcg, overlap, recall, reciprocal_rank
from errors import ModelUnavailableError
from importing.child import ROOT, import_in_child
from models.catalog import ModelSpec
from models.integrity import find_flaw
from models.store import ModelStore

DEPTH = 100
"""Number of passages that are kept of each ranking."""
TOP = 10

Measure = Callable[[Job], Measured]


class MeasureError(RuntimeError):
    """A model could not be measured."""


@dataclass(frozen=True)
class Files:
    """The files of a comparison, which each child process reads."""

    queries: Path
    passages: Path


@dataclass(frozen=True)
class Row:
    """A model's results. Quality is None without labels, and `overlap` is None with labels."""

    model: str
    kind: str
    ndcg_at_10: float | None
    mrr_at_10: float | None
    recall_at_10: float | None
    recall_at_100: float | None
    overlap_at_10: float | None
    """The share of the first model's ten best passages that are among the ten best of this one."""
    texts_per_s: float
    tokens_per_s: float
    memory_bytes: int
    backend: str


def compare(
    specs: Sequence[ModelSpec],
    data: Data,
    files: Files,
    *,
    candidates: int,
    measure: Measure,
    report: Callable[[Row], None],
) -> list[Row]:
    """Measure the models, embedders first; rerankers sort the best `candidates` passages of the first embedder."""
    rows: list[Row] = []
    first: list[list[str]] = []
    places = [list(range(len(data.passages)))] * len(data.queries)
    embedders = [spec for spec in specs if spec.kind == "embedding"]
    ordered = [*embedders, *(spec for spec in specs if spec.kind == "reranker")]
    for spec in ordered:
        job = Job(
            model=spec.name,
            queries=files.queries,
            passages=files.passages,
            depth=max(DEPTH, candidates),
            candidates=places if spec.kind == "reranker" else [],
        )
        measured = measure(job)
        if not rows and spec.kind == "embedding":
            places = [ranking[:candidates] for ranking in measured.rankings]
        rankings = [[data.passages[place].id for place in ranking] for ranking in measured.rankings]
        first = first or rankings
        rows.append(row(spec, data, measured, rankings, first))
        report(rows[-1])
    return rows


def row(
    spec: ModelSpec, data: Data, measured: Measured, rankings: Sequence[Sequence[str]], first: Sequence[Sequence[str]]
) -> Row:
    """The results of one model, averaged over the queries with labels, or over all if none has any."""
    labelled = [
        (ranking, data.relevant[query.id])
        for query, ranking in zip(data.queries, rankings, strict=True)
        if query.id in data.relevant
    ]

    def mean(metric: Callable[..., float], depth: int) -> float | None:
        return fmean(metric(ranking, grades, depth) for ranking, grades in labelled) if labelled else None

    shared = [overlap(theirs, ours, TOP) for ours, theirs in zip(rankings, first, strict=True)]
    seconds = max(measured.seconds, 1e-9)
    return Row(
        model=spec.name,
        kind=spec.kind,
        ndcg_at_10=mean(ndcg, TOP),
        mrr_at_10=mean(reciprocal_rank, TOP),
        recall_at_10=mean(recall, TOP),
        recall_at_100=mean(recall, DEPTH),
        overlap_at_10=None if labelled else fmean(shared),
        texts_per_s=measured.texts / seconds,
        tokens_per_s=measured.tokens / seconds,
        memory_bytes=measured.memory_bytes,
        backend=measured.backend,
    )


def require_stored(spec: ModelSpec, report: Callable[[float], None]) -> None:
    """Import the model in a child process unless it is stored; ModelUnavailableError if that fails."""
    if spec.forwarded:
        raise ModelUnavailableError(f"{spec.name} is forwarded to its provider; it does not run on this machine.")
    stored = ModelStore().find(spec)
    if stored is None or find_flaw(spec, stored):
        asyncio.run(import_in_child(spec, report))


def measure_in_child(job: Job) -> Measured:
    """Run comparison/measure.py; MeasureError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(job.model_dump_json(), encoding="utf-8")
        command: list[Any] = [sys.executable, "-m", "comparison.measure", path]
        done = subprocess.run(command, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True)  # noqa: S603
        if done.returncode != 0 or not result_path(path).is_file():
            last = done.stderr.strip().rpartition("\n")[2]
            raise MeasureError(f"{job.model} could not be measured (status {done.returncode}): {last}")
        return Measured.model_validate_json(result_path(path).read_text(encoding="utf-8"))
