"""The measures equal those of scikit-learn, and values computed by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from comparison.metrics import ndcg, overlap, recall, reciprocal_rank

GRADES = {"a": 3.0, "b": 1.0, "c": 2.0}
RANKING = ["x", "a", "y", "c", "z", "b"]


def test_values_by_hand() -> None:
    assert ndcg(RANKING, GRADES, 4) == pytest.approx((3 / log2(3) + 2 / log2(5)) / (3 + 2 / log2(3) + 1 / log2(4)))
    assert reciprocal_rank(RANKING, GRADES, 10) == 1 / 2
    assert reciprocal_rank(RANKING, GRADES, 1) == 0
    assert recall(RANKING, GRADES, 4) == 2 / 3
    assert recall(RANKING, GRADES, 10) == 1
    assert overlap(["a", "b", "c"], ["c", "b", "d", "a"], 2) == 1 / 2


def test_a_perfect_ranking_is_1_and_one_without_relevant_passages_0() -> None:
    assert ndcg(["a", "c", "b", "x"], GRADES, 10) == 1
    assert ndcg(["x", "y"], GRADES, 10) == 0


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_equals_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    gains, scores = random.integers(0, 4, 30), random.permutation(30)
    gains[0] = 1
    names = [str(place) for place in range(30)]
    ranking = [names[place] for place in np.argsort(-scores)]
    grades = {name: float(gain) for name, gain in zip(names, gains, strict=True) if gain}
    assert ndcg(ranking, grades, 10) == pytest.approx(ndcg_score([gains], [scores], k=10))
