"""What is measured, what rerankers sort, and the table and chart of the results."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from comparison.compare import Files, Row, compare, require_stored
from comparison.data import Data, Text
from comparison.measure import Job, Measured, best
from comparison.report import chart, table
from errors import ModelUnavailableError
from models.catalog import ModelSpec, load_catalog
from tests.unit.fakes import spec

PASSAGES = tuple(Text(name, f"text {name}") for name in "abcd")
QUERIES = (Text("q1", "first"), Text("q2", "second"))
DATA = Data(QUERIES, PASSAGES, {"q1": {"a": 1.0}})
RANKINGS = {"first": [[1, 0, 2, 3], [3, 2, 1, 0]], "second": [[0, 1, 2, 3], [3, 0, 1, 2]], "judge": [[0, 1], [2, 3]]}
FIRST, SECOND, JUDGE = (
    spec(name=name, repo=f"acme/{name}", kind="reranker" if name == "judge" else "embedding") for name in RANKINGS
)


def run(*specs: ModelSpec, data: Data = DATA) -> tuple[list[Row], list[Job]]:
    jobs: list[Job] = []

    def measure(job: Job) -> Measured:
        jobs.append(job)
        return Measured(
            rankings=RANKINGS[job.model], texts=4, tokens=40, seconds=2.0, memory_bytes=3_000_000, backend="torch"
        )

    shown: list[Row] = []
    files = Files(Path("q"), Path("p"))
    rows = compare(specs, data, files, candidates=2, measure=measure, report=shown.append)
    assert shown == rows
    return rows, jobs


def test_rerankers_sort_the_best_of_the_first_embedder() -> None:
    rows, jobs = run(JUDGE, FIRST, SECOND)
    assert [row.model for row in rows] == ["first", "second", "judge"]
    assert [job.candidates for job in jobs] == [[], [], [[1, 0], [3, 2]]]


def test_a_reranker_alone_sorts_everything() -> None:
    _, (job,) = run(JUDGE)
    assert job.candidates == [[0, 1, 2, 3]] * 2


def test_quality_is_averaged_over_queries_with_labels() -> None:
    (first, second), _ = run(FIRST, SECOND)
    assert (first.mrr_at_10, second.mrr_at_10) == (0.5, 1.0)
    assert first.ndcg_at_10 == pytest.approx(1 / np.log2(3))
    assert first.recall_at_10 == first.recall_at_100 == 1
    assert first.overlap_at_10 is None
    assert (first.texts_per_s, first.tokens_per_s, first.memory_bytes) == (2.0, 20.0, 3_000_000)


def test_without_labels_the_first_model_is_compared_with() -> None:
    (first, judge), _ = run(FIRST, JUDGE, data=Data(QUERIES, PASSAGES, {}))
    assert first.ndcg_at_10 is None
    assert first.overlap_at_10 == 1
    assert judge.overlap_at_10 == 0.5


def test_equal_scores_keep_the_order_of_the_passages() -> None:
    assert best(np.array([0.1, 0.5, 0.5, 0.9]), 3) == [3, 1, 2]


def test_the_table_and_the_chart_show_every_model() -> None:
    rows, _ = run(FIRST, JUDGE)
    head, rule, first, judge = table(rows).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")][2:6] == [
        "nDCG@10",
        "MRR@10",
        "Recall@10",
        "Recall@100",
    ]
    assert set(rule) == set("| -")
    assert "0.631" in first
    assert "0.00 GB" in judge
    drawn = ET.fromstring(chart(rows))
    bars = [bar.attrib for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert [bar["class"] for bar in bars] == ["embedding", "reranker"] * 3
    assert float(bars[1]["width"]) > float(bars[0]["width"]) > 0.5 * float(bars[1]["width"])
    unlabelled, _ = run(FIRST, data=Data(QUERIES, PASSAGES, {}))
    assert "Overlap@10" in table(unlabelled)
    assert "Overlap@10" in chart(unlabelled)


def test_a_forwarded_model_is_refused() -> None:
    forwarded = next(each for each in load_catalog() if each.forwarded)
    with pytest.raises(ModelUnavailableError, match="does not run on this machine"):
        require_stored(forwarded, lambda _done: None)
