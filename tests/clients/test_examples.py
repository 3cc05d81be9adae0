"""The Python examples print the numbers of sentence-transformers."""

import json
import re
import sys
from typing import Any

import pytest

from tests.clients.printed import EXAMPLES, assert_cosines, assert_pairs, assert_two_best, run
from tests.clients.reference import ATOL, Reference
from tests.clients.samples import API_KEY, DIMENSIONS, MODEL

SEARCHED = [
    "日本の首都は東京です。",
    "火星は赤い惑星として知られています。",
    "パスワードを忘れた場合は、設定画面から再発行してください。",
    "The capital of France is Paris.",
    "Mars is known as the Red Planet because of its reddish surface.",
    "Open the settings page to choose a new password.",
    "Green tea is best with water at eighty degrees.",
]
QUERY = "What is machine learning?"
DOCUMENTS = ["Today is a beautiful sunny day.", "Deep learning is a method of machine learning.", "機械学習とは何か"]
ROUNDED = ATOL + 5e-5
PLANETS = ("mars", "venus", "moon")


def python(name: str, *arguments: str, **settings: str) -> str:
    """The output of an example."""
    return run(sys.executable, str(EXAMPLES / name), *arguments, folder=EXAMPLES, MODEL=MODEL, **settings)


def test_openai_embeddings(url: str, reference: Reference) -> None:
    assert_cosines(python("python/openai_embeddings.py", BASE_URL=url), reference)


def test_openai_batch(url: str) -> None:
    printed = python("python/openai_batch.py", BASE_URL=url)
    assert printed.splitlines() == ["completed: 3 of 3", *(f"{name}: {DIMENSIONS} numbers" for name in PLANETS)]


def test_cohere_rerank(url: str, reference: Reference) -> None:
    assert_two_best(python("python/cohere_rerank.py", BASE_URL=url), reference)


@pytest.mark.parametrize("question", ["Which planet is red?", "日本の首都はどこですか"])
def test_rag_search(url: str, reference: Reference, question: str) -> None:
    printed = python("python/rag_search.py", *question.split(), BASE_URL=url)
    assert printed.startswith(f"nearest to {question!r}:\n")
    nearest, best = printed.split("\n", 1)[1].split("best of them:\n")
    ranking = reference.ranking(question, SEARCHED)
    assert_pairs(nearest, [(2 * score - 1, SEARCHED[index]) for index, score in ranking[:4]])
    assert_pairs(best, [(score, SEARCHED[index]) for index, score in ranking[:2]])


def test_examples_send_the_api_key(guarded_url: str, reference: Reference) -> None:
    assert_two_best(python("python/cohere_rerank.py", BASE_URL=guarded_url, API_KEY=API_KEY), reference)


Step = tuple[str, int, Any]


@pytest.fixture(scope="module")
def tour(url: str) -> list[Step]:
    """Request, status and response of each step."""
    steps = []
    for part in python("api_tour.py", BASE_URL=url).strip().split("\n\n"):
        title, request, answer = part.split("\n", 2)
        assert title.startswith("# ")
        status, _, body = answer.partition(" ")
        steps.append((request, int(status), json.loads(body) if body[:1] in ("{", "[") else body))
    return steps


def answer_of(tour: list[Step], request: str, number: int = 0) -> Any:
    """The response of the request that starts with this text."""
    return [body for sent, _, body in tour if sent.startswith(request)][number]


def test_the_tour_runs_all_steps(tour: list[Step]) -> None:
    assert [status for _, status, _ in tour] == [200] * 15 + [404, 400]
    assert answer_of(tour, "GET /health")["status"] == "healthy"
    assert answer_of(tour, f"GET /v1/models/{MODEL}")["id"] == MODEL
    assert len(answer_of(tour, "GET /v1/models")["data"]) == 4  # three, and the number of the others


def test_the_tour_prints_correct_numbers(tour: list[Step], reference: Reference) -> None:
    embeddings = answer_of(tour, "POST /v1/embeddings")
    assert embeddings["usage"]["total_tokens"] == reference.tokens(DOCUMENTS)
    for entry, vector in zip(embeddings["data"], reference.vectors(DOCUMENTS), strict=True):
        *numbers, more = entry["embedding"]
        assert numbers == pytest.approx(vector[:3], abs=ROUNDED)
        assert more == f"... {DIMENSIONS - 3} more"
    ranking = reference.ranking(QUERY, DOCUMENTS)
    v1, v2 = (answer_of(tour, f"POST /{version}/rerank")["results"] for version in ("v1", "v2"))
    assert [result["document"] for result in v1] == [DOCUMENTS[index] for index, _ in ranking[:2]]
    for results, field in (
        (v1, "relevance_score"),
        (v2, "relevance_score"),
        (answer_of(tour, "POST /rerank"), "score"),
    ):
        expected = ranking[: len(results)]
        assert [result["index"] for result in results] == [index for index, _ in expected]
        assert [result[field] for result in results] == pytest.approx([score for _, score in expected], abs=ROUNDED)
    cosines = [2 * score - 1 for score in reference.scores(QUERY, DOCUMENTS)]
    assert answer_of(tour, "POST /similarity") == pytest.approx(cosines, abs=ROUNDED)
    counted = answer_of(tour, "POST /v1/tokenize")["data"]
    assert [entry["tokens"] for entry in counted] == [reference.tokens([text]) for text in DOCUMENTS]


def test_the_tour_ends_with_errors(tour: list[Step]) -> None:
    unknown, wrong = tour[-2][2]["error"], tour[-1][2]["error"]
    assert (unknown["code"], unknown["param"]) == ("model_not_found", "model")
    assert re.search(rf"Did you mean {MODEL}", unknown["message"])
    assert (wrong["code"], wrong["param"]) == ("invalid_value", "documents")
