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


def test_pairs_are_taken_as_they_are_and_one_query_meets_each_document_in_order() -> None:
    assert Golden.model_validate(BLOCK).text_pairs() == [("q", "a"), ("q", "b")]
    pairs = [["q", "a"], ["r", "b"]]
    assert Golden.model_validate(PAIRS | {"pairs": pairs}).text_pairs() == [("q", "a"), ("r", "b")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expected": [0.1]}, "one number for each"),
        ({"documents": [], "expected": []}, "at least 1 item"),
        ({"query": None}, "documents need a query"),
        ({"pairs": [["q", "a"], ["q", "b"]]}, "either pairs, or query and documents"),
        ({"tolerance": 0}, "greater than 0"),
        ({"what": "rerank"}, "rerank_scores"),
        ({"expected": ["high", "low"]}, "valid number"),
        ({"toleranse": 1}, "Extra inputs"),
    ],
)
def test_a_block_that_contradicts_itself_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Golden.model_validate(BLOCK | change)


def test_every_shipped_check_is_for_a_model_of_that_kind() -> None:
    catalog = load_catalog()
    for golden in load_goldens():
        spec = catalog.get(golden.model)
        assert spec.name == golden.model
        assert (spec.kind == "embedding") == (golden.what == "query_cosines")
        assert spec.scoring is None, "a check has no instruction"
        prompts = {"query_prompt", "document_prompt"} & golden.model_fields_set
        assert len(prompts) == (2 if spec.kind == "embedding" else 0), golden.model


@pytest.mark.parametrize("golden", load_goldens(), ids=lambda golden: f"{golden.model}-{golden.what}")
def test_a_shipped_check_would_notice_a_wrong_answer(golden: Golden) -> None:
    """The numbers lie further apart than the tolerance, so that constant or shuffled output fails."""
    assert golden.tolerance <= (max(golden.expected) - min(golden.expected)) / 5


def test_a_shipped_check_catches_lost_segment_ids() -> None:
    """transformers 5 without token_type_ids scores Mars .19531 (MODELS.md 2.1)."""
    (golden,) = goldens_of("japanese-reranker-large")
    assert abs(golden.expected[1] - 0.19531) > 10 * golden.tolerance


def test_checks_are_found_by_model() -> None:
    assert {golden.what for golden in goldens_of("jina-reranker-v2-multilingual")} == {"rerank_scores"}
    assert len(goldens_of("jina-reranker-v2-multilingual")) == 2
    assert goldens_of("ruri-large") == []
    assert sum(len(goldens_of(spec.name)) for spec in load_catalog()) == len(load_goldens())
