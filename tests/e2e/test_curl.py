"""curl on every kind of route, and its error responses."""

import json
import subprocess
from typing import Any

import numpy as np
import pytest

from tests.clients import expected
from tests.clients.samples import DOCUMENTS, JAPANESE, MODEL, QUERY, TEXTS
from tests.errors import message_of
from tests.serving import Served
from tests.tolerance import openvino_precision, unit_atol

ATOL = unit_atol(openvino_precision())


def curl(served: Served, path: str, body: dict[str, Any] | str | None = None, *options: str) -> tuple[int, Any]:
    """Status and body of the response."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", "--max-time", "60", f"{served.url}{path}", *options]
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        command += ["-H", "Content-Type: application/json", "--data-binary", text]
    done = subprocess.run(command, capture_output=True, check=True, timeout=90, text=True)
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(answer)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_embeddings(served: Served, path: str) -> None:
    status, answer = curl(served, path, {"model": MODEL, "input": TEXTS})
    assert status == 200
    vectors = [entry["embedding"] for entry in answer["data"]]
    np.testing.assert_allclose(vectors, expected.vectors(TEXTS), rtol=0, atol=ATOL)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_rerank(served: Served, path: str) -> None:
    status, answer = curl(served, path, {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_n": 2})
    assert status == 200
    scores = expected.scores(QUERY, DOCUMENTS)
    assert [result["index"] for result in answer["results"]] == [0, 2]
    found = [result["relevance_score"] for result in answer["results"]]
    np.testing.assert_allclose(found, [scores[0], scores[2]], rtol=0, atol=ATOL)


def test_text_embeddings_inference(served: Served) -> None:
    status, vectors = curl(served, "/embed", {"inputs": JAPANESE})
    assert status == 200
    np.testing.assert_allclose(vectors, expected.vectors([JAPANESE]), rtol=0, atol=ATOL)
    status, results = curl(served, "/rerank", {"query": QUERY, "texts": DOCUMENTS, "return_text": True})
    assert status == 200
    assert [result["text"] for result in results][:2] == [DOCUMENTS[0], DOCUMENTS[2]]


def test_models(served: Served) -> None:
    status, answer = curl(served, "/v1/models")
    assert status == 200
    assert MODEL in {model["id"] for model in answer["data"]}


def test_compressed_and_in_chunks(served: Served) -> None:
    body = {"model": MODEL, "input": TEXTS, "encoding_format": "float"}
    status, answer = curl(served, "/v1/embeddings", body, "--compressed", "-H", "Transfer-Encoding: chunked")
    assert status == 200
    assert len(answer["data"]) == len(TEXTS)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/embeddings", {"model": "no-such-model", "input": "a"}, 404, "model_not_found"),
        ("/v1/embeddings", {"model": MODEL, "input": [""]}, 400, "invalid_value"),
        ("/v1/embeddings", '{"input": "a"', 400, "invalid_value"),
        ("/v2/rerank", {"model": MODEL, "query": QUERY, "documents": []}, 400, "invalid_value"),
        ("/v1/rerank", {"model": MODEL, "query": QUERY}, 400, "invalid_value"),
        ("/no-such-route", {"input": "a"}, 404, "route_not_found"),
        ("/v1/embeddings", None, 405, "method_not_allowed"),
    ],
    ids=str,
)
def test_errors(served: Served, path: str, body: dict[str, Any] | str | None, status: int, code: str) -> None:
    found, answer = curl(served, path, body)
    assert found == status
    assert message_of(answer)
    assert answer["error"]["code"] == code
