"""./embeddings compare with real weights: its values equal those computed from sentence-transformers' ranks."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from math import log2
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.conftest import MODEL
from tests.serving import ROOT, child_environment, copy_home
from tests.variant import DTYPE

QUERIES, PASSAGES = (ROOT / "examples" / "search" / f"{name}.jsonl" for name in ("queries", "passages"))


def run(home: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    environment = child_environment(home, {"DEVICE": "cpu", "DTYPE": DTYPE, "BACKEND": "torch"})
    command = [ROOT / "embeddings", "compare", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)


def ranks(weights: Path) -> dict[str, list[int]]:
    """Query -> the ranks of its relevant passages, in the order of its labels, by sentence-transformers."""
    queries, passages = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (QUERIES, PASSAGES)
    )
    model = SentenceTransformer(str(weights), device="cpu")
    cosines = model.encode([row["text"] for row in queries]) @ model.encode([row["text"] for row in passages]).T
    orders = [[passages[place]["id"] for place in np.argsort(-row)] for row in cosines]
    return {
        query["id"]: [order.index(label) + 1 for label in query["relevant"]]
        for query, order in zip(queries, orders, strict=True)
    }


def test_the_example_is_measured_as_by_hand(imported: Path, weights: Path, tmp_path: Path) -> None:
    found = ranks(weights)
    chart = tmp_path / "chart.svg"
    home = copy_home(imported, tmp_path / "home")
    done = run(home, "--queries", QUERIES, "--passages", PASSAGES, MODEL, "--json", "--chart", chart)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    best = {"q3": 2 + 1 / log2(3), "q7": 1 + 1 / log2(3)}
    gains = {"q3": [2, 1]}
    ndcg = [
        sum(gain / log2(rank + 1) for gain, rank in zip(gains.get(query, [1, 1]), places, strict=False) if rank <= 10)
        / best.get(query, 1)
        for query, places in found.items()
    ]
    assert row["ndcg_at_10"] == pytest.approx(np.mean(ndcg), abs=1e-9)
    assert row["mrr_at_10"] == pytest.approx(np.mean([1 / min(places) for places in found.values()]), abs=1e-9)
    assert row["recall_at_10"] == np.mean([np.mean([rank <= 10 for rank in places]) for places in found.values()])
    assert row["recall_at_100"] == 1
    assert row["texts_per_s"] > 0
    assert row["memory_bytes"] > 50_000_000
    assert len(list(ET.parse(chart).iter("{http://www.w3.org/2000/svg}rect"))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["no-such-model"], "There is no model of that name"),
        (["bge-reranker-base", "--candidates", "3"], "Name an embedding model"),
        ([MODEL, "--candidates", "0"], "Invalid value for '--candidates'"),
    ],
)
def test_an_invalid_command_has_status_2(options: list[str], message: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--queries", QUERIES, "--passages", PASSAGES, *options)
    assert done.returncode == 2
    assert message in done.stderr
