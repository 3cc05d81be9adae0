"""./embeddings embed and rank in their own process: the results of sentence-transformers, the limits of the service."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.command_line import run
from tests.integration.conftest import DEFAULT_RERANKER, E5
from tests.integration.reference import ATOL, ReferenceEmbedder, ReferenceReranker
from tests.tiny import corpus
from tests.variant import DTYPE

TEXTS = list(corpus.ENGLISH[:4])


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"DEVICE": "cpu", "DTYPE": DTYPE, "CPU_THREADS": "1", "IMPORT_ON_DEMAND": "false"}
    for name, value in (variables | {"RERANKER_MODEL_NAME": DEFAULT_RERANKER}).items():
        monkeypatch.setenv(name, value)


def test_embeddings_in_every_format(e5: ReferenceEmbedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    assert run("embed", *TEXTS, "--model", E5, "--input-type", "query") == 0
    data = json.loads(capsys.readouterr().out)["data"]
    printed = np.array([each["embedding"] for each in data], dtype=np.float32)
    assert_allclose(printed, e5.encode(TEXTS, prompt="query: "), atol=ATOL)
    file, texts = tmp_path / "file.npy", tmp_path / "texts.jsonl"
    assert run("embed", "--file", rows, "--model", E5, "--input-type", "query", "--out", file) == 0
    assert run("embed", *TEXTS, "--model", E5, "--input-type", "query", "--out", texts) == 0
    lines = [json.loads(line) for line in texts.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [0, 1, 2, 3]
    for stored in (np.load(file), np.array([line["embedding"] for line in lines], dtype=np.float32)):
        assert_allclose(stored, printed, atol=ATOL)


def test_a_ranking_by_the_default_reranker(reranker: ReferenceReranker, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rank", corpus.ENGLISH[5], *TEXTS, "--json") == 0
    results = json.loads(capsys.readouterr().out)["results"]
    scores = reranker.predict(corpus.ENGLISH[5], TEXTS)
    assert_array_equal([each["index"] for each in results], np.argsort(-scores))
    assert_allclose([each["relevance_score"] for each in results], np.sort(scores)[::-1], atol=ATOL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "bge-m33"], "Did you mean bge-m3"),
        (["--model", "ruri-v3-30m"], "is not in the model store and IMPORT_ON_DEMAND is off"),
        (["--model", E5, "--dimensions", "100000"], "dimensions must be between 1 and"),
    ],
)
def test_what_the_service_refuses_is_refused(
    e5: ReferenceEmbedder, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run("embed", "text", *arguments) == 1
    assert message in capsys.readouterr().err


def test_the_limits_of_the_service(
    e5: ReferenceEmbedder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAX_INPUTS", "3")
    assert run("embed", *TEXTS, "--model", E5, "--json") == 1
    assert "MAX_INPUTS" in json.loads(capsys.readouterr().out)["error"]
