"""The programs in examples/hybrid find what reciprocal rank fusion by hand finds, and rank it as the service does."""

import json
import sys
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.clients.printed import EXAMPLES, pairs, run
from tests.clients.samples import M3

CANDIDATES, RESULTS, RRF = 8, 3, 60
TEXTS = [json.loads(line)["text"] for line in (EXAMPLES / "search/passages.jsonl").read_text().splitlines()]

Scores = NDArray[np.float64]


def embed(url: str, texts: list[str], side: str) -> list[dict[str, Any]]:
    """All outputs of each text."""
    body = {"model": M3, "input": texts, "input_type": side, "return_sparse": True, "return_colbert_vecs": True}
    answer = httpx.post(f"{url}/v1/embeddings", json=body, timeout=600).raise_for_status()
    return list(answer.json()["data"])


def dense(query: dict[str, Any], passage: dict[str, Any]) -> float:
    return float(np.dot(query["embedding"], passage["embedding"]))


def sparse(query: dict[str, Any], passage: dict[str, Any]) -> float:
    """The dot product of the weights."""
    left, right = (
        dict(zip(each["sparse_embedding"]["indices"], each["sparse_embedding"]["values"], strict=True))
        for each in (query, passage)
    )
    return float(sum(value * right.get(index, 0) for index, value in left.items()))


def max_sim(query: dict[str, Any], passage: dict[str, Any]) -> float:
    """The sum over the query's tokens of the largest cosine of a token of the passage."""
    return float((np.array(query["colbert_vecs"]) @ np.array(passage["colbert_vecs"]).T).max(axis=1).sum())


def fused(lists: list[list[float]]) -> dict[str, float]:
    """Score of each passage that is among the best of one of the lists; a sparse score of 0 is no match."""
    scores: dict[str, float] = {}
    for each in lists:
        best = sorted((index for index, score in enumerate(each) if score != 0), key=lambda index: -each[index])
        for place, index in enumerate(best[:CANDIDATES]):
            scores[TEXTS[index]] = scores.get(TEXTS[index], 0) + 1 / (RRF + place)
    return scores


@pytest.mark.parametrize("question", ["biggest planet", "How do I reset my password?"])
@pytest.mark.parametrize(
    ("program", "second"), [("with_qdrant.py", sparse), ("with_milvus.py", sparse), ("with_lancedb.py", max_sim)]
)
def test_programs_fuse_both_lists_and_rerank(url: str, program: str, second: Any, question: str) -> None:
    printed = run(
        *(sys.executable, str(EXAMPLES / "hybrid" / program), *question.split()), MODEL=M3, RERANKER=M3, BASE_URL=url
    )
    candidates, best = printed.removeprefix("candidates:\n").split("best:\n")
    found = [line.strip() for line in candidates.splitlines()]
    passages, (query,) = embed(url, TEXTS, "document"), embed(url, [question], "query")
    expected = fused([[score(query, passage) for passage in passages] for score in (dense, second)])
    # equal scores may have any order, also at the end of the list
    assert [expected[text] for text in found] == pytest.approx(sorted(expected.values())[::-1][:CANDIDATES], abs=1e-5)
    body = {"model": M3, "query": question, "documents": found, "top_n": RESULTS}
    ranking = httpx.post(f"{url}/v1/rerank", json=body, timeout=600).raise_for_status().json()["results"]
    assert pairs(best) == [(round(each["relevance_score"], 4), found[each["index"]]) for each in ranking]
