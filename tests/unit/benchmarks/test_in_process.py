"""How OpenVINO in process cuts its batches, how answers are compared, and what a kept result must not hold."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.checks import Answers, compare, in_order, unit
from benchmarks.in_process import CALL_COST_TOKENS, MAX_BATCH_TOKENS, cuts
from benchmarks.measure import MeasurementError
from benchmarks.run import without_paths
from benchmarks.servers import INT8, OURS


def cost(lengths: list[int], batches: list[tuple[int, int]]) -> int:
    return sum(lengths[end - 1] * (end - start) + CALL_COST_TOKENS for start, end in batches)


@given(st.lists(st.integers(3, 512), min_size=1, max_size=9).map(sorted))
def test_no_other_cuts_are_cheaper(lengths: list[int]) -> None:
    chosen = cuts(lengths)
    assert [start for start, _ in chosen] == [0, *(end for _, end in chosen[:-1])]
    assert chosen[-1][1] == len(lengths)
    for count in range(len(lengths)):
        for inner in combinations(range(1, len(lengths)), count):
            edges = (0, *inner, len(lengths))
            batches = list(pairwise(edges))
            if all(
                (end - start) == 1 or lengths[end - 1] * (end - start) <= MAX_BATCH_TOKENS for start, end in batches
            ):
                assert cost(lengths, chosen) <= cost(lengths, batches)


def test_wrong_vectors_and_scores_are_found() -> None:
    right = Answers(unit(np.eye(3) + 0.1), np.array([0.1, 0.5, 0.9]))
    assert compare("a", right, "b", right)["right"]
    assert not compare("a", Answers(right.vectors[::-1], right.scores), "b", right)["right"]
    near = Answers(unit(right.vectors + np.array([0.1, 0, 0])), right.scores)  # cosine 0.994
    assert [compare(name, near, OURS, right)["right"] for name in ("infinity float32", INT8)] == [False, True]
    assert not compare("a", Answers(right.vectors, right.scores[::-1]), "b", right)["right"]


def test_answers_are_put_in_the_order_of_the_inputs() -> None:
    assert in_order([{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}], "score", 2) == [0.1, 0.9]
    with pytest.raises(MeasurementError):
        in_order([{"index": 1, "score": 0.9}, {"index": 1, "score": 0.1}], "score", 2)


def test_kept_results_name_no_folder_of_the_machine() -> None:
    kept = {
        "errors": ["/home/someone/x/lib/python3.11/site-packages/a.py failed", "/cache/run-1/log"],
        "figures": [1.5],
    }
    assert without_paths(kept, {"/cache": "CACHE"}) == {
        "errors": ["PYTHON/site-packages/a.py failed", "CACHE/run-1/log"],
        "figures": [1.5],
    }
