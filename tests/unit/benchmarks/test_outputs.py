"""The rows for sparse vectors and token vectors: each server is asked for the same outputs, in its own API."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from api.dialects.jina import MultiVectorRequest
from api.dialects.openai import EmbeddingRequest
from benchmarks.outputs import (
    ALL,
    OUTPUT_KEYS,
    OUTPUT_ROWS,
    OUTPUTS,
    SPARSE,
    TOKENS,
    OutputRow,
    answer_of,
    models_of,
    request,
    smallest_cosine,
)
from benchmarks.workload import COLBERT, M3, SPLADE


def packed(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


@pytest.mark.parametrize("row", OUTPUT_ROWS, ids=lambda row: row.key)
def test_our_api_understands_what_a_row_asks_for(row: OutputRow) -> None:
    sent = request("ours", 1, row.model, row.wanted, list(row.texts[0]))
    body = MultiVectorRequest if row.model == COLBERT else EmbeddingRequest
    params = {MultiVectorRequest: lambda found: found.params(), EmbeddingRequest: lambda found: found.params(2**20)}
    asked = params[body](body.model_validate(json.loads(sent.body)))
    names = {"dense": "dense", "sparse": "sparse", "tokens": "multi_vector"}
    assert asked.options.outputs == tuple(names[output] for output in row.wanted)
    assert list(asked.inputs) == list(row.texts[0])
    assert sent.items == len(row.texts[0])


def test_only_the_models_of_the_rows_are_imported() -> None:
    assert models_of(["splade_8", "splade_512", "single_1"]) == (SPLADE,)
    assert models_of(OUTPUT_KEYS) == OUTPUTS


SPARSE_ITEM = {"indices": [3, 9], "values": [0.5, 1.0]}
CASES: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("ours", SPLADE, SPARSE, {"index": 0, "sparse_embedding": SPARSE_ITEM}),
    ("vllm", SPLADE, SPARSE, {"index": 0, "embedding": packed(*np.zeros(3), 0.5, *np.zeros(5), 1, *np.zeros(30_512))}),
    ("ours", COLBERT, TOKENS, {"index": 0, "embeddings": [packed(*np.ones(96)), packed(*np.arange(96))]}),
    ("vllm", COLBERT, TOKENS, {"index": 0, "data": packed(*np.ones(96), *np.arange(96))}),
    (
        "ours",
        M3,
        ALL,
        {"index": 0, "embedding": packed(1, 2), "colbert_vecs": [packed(3, 4)], "sparse_embedding": SPARSE_ITEM},
    ),
]


@pytest.mark.parametrize(("api", "model", "wanted", "item"), CASES)
def test_answers_of_servers_have_one_form(api: str, model: str, wanted: tuple[Any, ...], item: dict[str, Any]) -> None:
    found = answer_of(api, model, ["a text"], {"data": [item]})
    assert set(found) == set(wanted)
    if "sparse" in found:
        assert np.flatnonzero(found["sparse"][0]).tolist() == [3, 9]
        assert found["sparse"][0][0, [3, 9]].tolist() == [0.5, 1]
    if model == COLBERT:
        assert found["tokens"][0].tolist() == [[1.0] * 96, list(range(96))]
    if model == M3:
        assert (found["dense"][0].tolist(), found["tokens"][0].tolist()) == ([[1, 2]], [[3, 4]])


def test_wrong_outputs_are_found() -> None:
    right = [np.eye(3)]
    assert smallest_cosine({"tokens": right}, {"tokens": right}) == 1
    assert smallest_cosine({"tokens": [np.eye(3)[::-1]]}, {"tokens": right}) == 0
    assert smallest_cosine({"tokens": [np.eye(2)]}, {"tokens": right}) == -1
