"""Golden checks: a block that could not be computed, or that says two things, is refused; all shipped ones load."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.catalog import load_catalog
from models.goldens import Golden, goldens_of, load_goldens

BLOCK: dict[str, Any] = {
    "model": "tiny",
    "what": "rerank_scores",
    "query": "q",
    "documents": ["a", "b"],
    "expected": [0.1, 0.9],
    "tolerance": 0.01,
    "source": "the model card",
}
PAIRS: dict[str, Any] = {key: value for key, value in BLOCK.items() if key not in ("query", "documents")}


def test_one_query_meets_each_document_in_order() -> None:
    assert Golden.model_validate(BLOCK).text_pairs() == [("q", "a"), ("q", "b")]


def test_pairs_are_taken_as_they_are() -> None:
    pairs = [["q", "a"], ["r", "b"]]
    assert Golden.model_validate(PAIRS | {"pairs": pairs}).text_pairs() == [("q", "a"), ("r", "b")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expected": [0.1]}, "one number for each"),
        ({"expected": [0.1, 0.2, 0.3]}, "one number for each"),
        ({"documents": [], "expected": []}, "at least 1 item"),
        ({"query": None}, "documents need a query"),
        ({"pairs": [["q", "a"], ["q", "b"]]}, "either pairs, or query and documents"),
        ({"tolerance": 0}, "greater than 0"),
        ({"tolerance": -1}, "greater than 0"),
        ({"what": "rerank"}, "rerank_scores"),
        ({"expected": ["high", "low"]}, "valid number"),
        ({"toleranse": 1}, "Extra inputs"),
    ],
)
def test_a_block_that_contradicts_itself_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Golden.model_validate(BLOCK | change)


@pytest.mark.parametrize("key", ["model", "what", "expected", "tolerance", "source"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValidationError, match=rf"(?m)^{key}$"):
        Golden.model_validate({name: value for name, value in BLOCK.items() if name != key})


def test_every_shipped_check_is_for_a_model_of_that_kind() -> None:
    catalog = load_catalog()
    for golden in load_goldens():
        spec = catalog.get(golden.model)
        assert spec.name == golden.model
        assert (spec.kind == "embedding") == (golden.what == "query_cosines")
        assert spec.scoring is None, "a check has no instruction"


def test_checks_are_found_by_model() -> None:
    assert {golden.what for golden in goldens_of("jina-reranker-v2-multilingual")} == {"rerank_scores"}
    assert len(goldens_of("jina-reranker-v2-multilingual")) == 2
    assert goldens_of("ruri-large") == []
    assert sum(len(goldens_of(spec.name)) for spec in load_catalog()) == len(load_goldens())
