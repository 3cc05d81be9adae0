"""Replays client requests that tests/clients/capture.py recorded, and checks the fields that each client reads."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.clients import expected
from tests.clients.samples import MODEL
from tests.serving import ROOT
from tests.tolerance import min_cosine, openvino_precision, sum_atol, unit_atol

FILES = sorted((ROOT / "tests/clients/captured").glob("*.json"))
PRECISION = openvino_precision()
MIN_COSINE = min_cosine(PRECISION)
SCORE_ATOL = unit_atol(PRECISION)

Numbers = NDArray[Any]


def test_captured_requests_exist() -> None:
    assert len(FILES) >= 33


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_replay(client: httpx.Client, path: Path) -> None:
    captured = json.loads(path.read_text(encoding="utf-8"))
    means, request = captured["means"], captured["request"]
    response = client.request(
        request["method"], request["path"], headers=request["headers"], content=json.dumps(request["body"])
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    if "texts" in means:
        check_vectors(read_vectors(request, answer), means)
        check_tokens(answer, expected.token_counts(means["texts"]))
    elif means.get("cosines"):
        cosines = [2 * score - 1 for score in expected.scores(means["query"], means["documents"])]
        np.testing.assert_allclose(answer, cosines, rtol=0, atol=2 * SCORE_ATOL)
    else:
        check_ranking(read_ranking(request, answer), means)


def read_vectors(request: dict[str, Any], answer: Any) -> dict[str, Numbers]:
    """Type of the numbers -> (N, D), from the fields that the client reads."""
    body = request["body"]
    if request["path"] in ("/", "/embed"):
        return {"float": np.asarray(answer)}
    if request["path"] == "/api/embed":
        assert answer["model"] == body["model"]
        return {"float": np.asarray(answer["embeddings"])}
    if request["path"].partition("?")[0].endswith("/embeddings"):
        assert answer["object"] == "list"
        assert answer["model"] == body.get("model", MODEL)
        assert [entry["index"] for entry in answer["data"]] == list(range(len(answer["data"])))
        name = body.get("output_dtype") or "float"
        rows = [entry["embedding"] for entry in answer["data"]]
        if body.get("encoding_format") == "base64":
            width = {"float": "<f4", "int8": "i1"}[name]
            rows = [np.frombuffer(base64.b64decode(row), width) for row in rows]
        return {name: np.asarray(rows)}
    assert answer["id"]
    if body.get("embedding_types") is None and request["path"] == "/v1/embed":
        assert answer["response_type"] == "embeddings_floats"
        return {"float": np.asarray(answer["embeddings"])}
    assert answer["response_type"] == "embeddings_by_type"
    assert set(answer["embeddings"]) == set(body["embedding_types"])
    return {name: np.asarray(rows) for name, rows in answer["embeddings"].items()}


def check_vectors(found: dict[str, Numbers], means: dict[str, Any]) -> None:
    """All types of numbers match sentence-transformers."""
    theirs = expected.vectors(means["texts"])[:, : means.get("dimensions")].astype(np.float64)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    assert found
    for name, ours in found.items():
        if name == "ubinary":
            same_bits = np.unpackbits(ours.astype(np.uint8), axis=1) == (theirs > 0)
            assert same_bits.mean() > 0.99 - np.arccos(MIN_COSINE) / np.pi  # numbers close to 0 may have either sign
            continue
        assert ours.shape == theirs.shape
        lengths = np.linalg.norm(ours.astype(np.float64), axis=1, keepdims=True)
        if name == "float":
            np.testing.assert_allclose(lengths, 1, rtol=0, atol=sum_atol(ours.shape[1]))
        cosines = (ours / lengths * theirs).sum(1)
        assert cosines.min() > (MIN_COSINE if name == "float" else MIN_COSINE - 0.001)


def check_tokens(answer: Any, counts: list[int]) -> None:
    """Token counts: `usage` of OpenAI, Jina and Voyage, `meta` of Cohere."""
    if "usage" in answer:
        assert answer["usage"] == {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
        assert answer["id"]
    if "meta" in answer:
        assert answer["meta"]["billed_units"] == {"input_tokens": sum(counts)}


def read_ranking(request: dict[str, Any], answer: Any) -> list[dict[str, Any]]:
    """The results, from the fields that the client reads."""
    if request["path"] == "/rerank":
        return [{"index": each["index"], "relevance_score": each["score"]} for each in answer]
    if request["path"] == "/v1/reranking":
        return [{"index": each["index"], "relevance_score": each["score"]} for each in answer["data"]]
    if request["path"] == "/v1/ranking":  # cosines
        return [{"index": each["index"], "relevance_score": (1 + each["logit"]) / 2} for each in answer["rankings"]]
    if "truncation" in request["body"]:  # Voyage
        assert answer["usage"]["total_tokens"] > 0
        return list(answer["data"])
    assert answer["id"]
    if request["path"] == "/v1/rerank":
        assert answer["model"] == request["body"]["model"]
        assert answer["usage"]["total_tokens"] > 0
    return list(answer["results"])


def check_ranking(results: list[dict[str, Any]], means: dict[str, Any]) -> None:
    """Order and scores of sentence-transformers, and the documents if they were requested."""
    scores = expected.scores(means["query"], means["documents"])
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[: means.get("top_n")]
    assert [each["index"] for each in results] == order
    found = [each["relevance_score"] for each in results]
    np.testing.assert_allclose(found, [scores[index] for index in order], rtol=0, atol=SCORE_ATOL)
    if means.get("document_objects"):
        assert [each["document"] for each in results] == [{"text": means["documents"][index]} for index in order]
