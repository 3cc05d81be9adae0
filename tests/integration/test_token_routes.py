"""Sparse vectors and token vectors over HTTP: the numbers of bge-m3's definition, computed with transformers."""

import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from tests.errors import refused
from tests.integration.conftest import DEFAULT_EMBEDDER, E5, Checkpoint, ok
from tests.integration.reference import ATOL
from tests.tolerance import scaled

TEXTS = ["Mars is red.", "火星は赤い。", "Mars, Mars and Venus: two planets"]

Floats = NDArray[np.float32]


class ByHand:
    """bge-m3 as FlagEmbedding defines it."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._sparse, self._vectors = (
            torch.load(folder / f"{name}_linear.pt", weights_only=True) for name in ("sparse", "colbert")
        )

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text)["input_ids"])

    def tokens(self, ids: list[int]) -> list[str]:
        return list(self.tokenizer.convert_ids_to_tokens(ids))

    def states(self, text: str) -> Floats:
        """(T, H)"""
        with torch.inference_mode():
            return np.asarray(self._model(**self.tokenizer(text, return_tensors="pt")).last_hidden_state[0])

    def dense(self, text: str) -> Floats:
        """The first token's state, normalized."""
        return _unit(self.states(text)[0])

    def sparse(self, text: str) -> dict[int, float]:
        """The largest ReLU of a token's weight, for each token id that is not special."""
        weights = np.maximum(_apply(self._sparse, self.states(text))[:, 0], 0)
        largest: dict[int, float] = {}
        for token_id, weight in zip(self.ids(text), weights.tolist(), strict=True):
            if token_id not in self.tokenizer.all_special_ids and weight > 0:
                largest[token_id] = max(weight, largest.get(token_id, 0))
        return dict(sorted(largest.items()))

    def vectors(self, text: str) -> Floats:
        """A unit vector for each token but the first."""
        return _unit(_apply(self._vectors, self.states(text)[1:]))


def _apply(layer: dict[str, torch.Tensor], states: Floats) -> Floats:
    return np.asarray(states @ layer["weight"].float().numpy().T + layer["bias"].float().numpy())


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def m3(checkpoint: Checkpoint) -> ByHand:
    return ByHand(checkpoint(DEFAULT_EMBEDDER))


def items(api: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    """`data` of /v1/embeddings."""
    return list(ok(api.post("/v1/embeddings", json={"input": TEXTS} | body))["data"])


def check_sparse(found: dict[int, float], expected: dict[int, float]) -> None:
    assert list(found) == list(expected)
    values = np.array(list(expected.values()))
    assert_allclose(list(found.values()), values, atol=scaled(values, ATOL))


def as_dict(sparse: dict[str, Any]) -> dict[int, float]:
    return dict(zip(sparse["indices"], sparse["values"], strict=True))


def test_one_request_returns_all_outputs(api: httpx.Client, m3: ByHand) -> None:
    data = items(api, return_sparse=True, return_colbert_vecs=True, return_tokens=True)
    for text, item in zip(TEXTS, data, strict=True):
        assert_allclose(item["embedding"], m3.dense(text), atol=ATOL)
        sparse = item["sparse_embedding"]
        check_sparse(as_dict(sparse), m3.sparse(text))
        assert sparse["tokens"] == m3.tokens(sparse["indices"])
        assert_allclose(item["colbert_vecs"], m3.vectors(text), atol=ATOL)
        assert item["colbert_tokens"] == m3.tokens(m3.ids(text)[1:])


def test_only_what_is_requested_is_returned(api: httpx.Client, m3: ByHand) -> None:
    for text, item in zip(TEXTS, items(api, return_dense=False, return_sparse=True), strict=True):
        assert set(item) == {"object", "index", "sparse_embedding"}
        assert set(item["sparse_embedding"]) == {"indices", "values"}
        check_sparse(as_dict(item["sparse_embedding"]), m3.sparse(text))
    assert set(items(api)[0]) == {"object", "index", "embedding"}


def test_top_k_and_min_weight(api: httpx.Client, m3: ByHand) -> None:
    expected = m3.sparse(TEXTS[2])
    middle = sorted(expected.values())[len(expected) // 2]
    strong = {token: value for token, value in expected.items() if value >= middle - ATOL}
    (item,) = items(api, input=TEXTS[2], return_sparse=True, min_weight=middle - ATOL)
    check_sparse(as_dict(item["sparse_embedding"]), strong)
    (item,) = items(api, input=TEXTS[2], return_sparse=True, top_k=2)
    best = sorted(expected, key=lambda token: -expected[token])[:2]
    check_sparse(as_dict(item["sparse_embedding"]), {token: expected[token] for token in sorted(best)})


@pytest.mark.parametrize("field", [{"encoding_format": "base64"}, {"embedding_type": "base64"}])
def test_base64_has_the_bytes_of_each_vector(api: httpx.Client, m3: ByHand, field: dict[str, str]) -> None:
    (item,) = items(api, input=TEXTS[0], return_colbert_vecs=True, **field)
    rows = [np.frombuffer(base64.b64decode(each), "<f4") for each in item["colbert_vecs"]]
    assert_allclose(rows, m3.vectors(TEXTS[0]), atol=ATOL)


def test_binary_token_vectors(api: httpx.Client, m3: ByHand) -> None:
    (item,) = items(api, input=TEXTS[0], return_colbert_vecs=True, output_dtype="ubinary")
    bits = np.unpackbits(np.array(item["colbert_vecs"], np.uint8), axis=1)
    expected = m3.vectors(TEXTS[0])
    assert (bits == (expected > 0))[np.abs(expected) > ATOL].all()


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": "Mars is red."},  # Haystack's HuggingFaceTEISparseTextEmbedder
        {"inputs": TEXTS},  # Haystack's HuggingFaceTEISparseDocumentEmbedder, pgvector's example
        {"inputs": TEXTS, "truncate": True},  # LlamaIndex embedders, TEI's documentation
        {"inputs": TEXTS, "truncate": True, "truncation_direction": "Right"},  # the fields of Milvus' client of /embed
        {"inputs": TEXTS, "model": "BAAI/bge-m3"},
    ],
)
def test_embed_sparse_answers_the_requests_of_clients(api: httpx.Client, m3: ByHand, body: dict[str, Any]) -> None:
    texts = [body["inputs"]] if isinstance(body["inputs"], str) else body["inputs"]
    answer: Any = ok(api.post("/embed_sparse", json=body))
    for text, weights in zip(texts, answer, strict=True):
        assert all(set(each) == {"index", "value"} for each in weights)
        check_sparse({each["index"]: each["value"] for each in weights}, m3.sparse(text))


def test_embed_sparse_with_tokens(api: httpx.Client, m3: ByHand) -> None:
    answer: Any = ok(api.post("/embed_sparse", json={"inputs": TEXTS[2], "return_tokens": True, "top_k": 3}))
    (weights,) = answer
    assert len(weights) == 3
    assert [each["token"] for each in weights] == m3.tokens([each["index"] for each in weights])


def test_embed_all_returns_the_states_before_pooling(api: httpx.Client, m3: ByHand) -> None:
    answer: Any = ok(api.post("/embed_all", json={"inputs": TEXTS}))
    for text, states in zip(TEXTS, answer, strict=True):
        expected = m3.states(text)
        assert_allclose(states, expected, atol=scaled(expected, ATOL))


def test_embed_all_works_without_token_outputs(api: httpx.Client, checkpoint: Checkpoint) -> None:
    folder = checkpoint(E5)
    encoded = AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        (expected,) = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(**encoded).last_hidden_state.numpy()
    answer: Any = ok(api.post("/embed_all", json={"inputs": TEXTS[0], "model": E5}))
    assert_allclose(answer[0], expected, atol=scaled(expected, ATOL))


@pytest.mark.parametrize(
    "fields",
    [
        {"embedding_type": "float", "dimensions": 16},  # Weaviate's text2multivec-jinaai: 128 dimensions by default
        {"embedding_type": "float", "normalized": True},
        {"embedding_type": "float", "input_type": "document"},  # Jina's documentation
        {"task": "retrieval.passage"},
    ],
)
def test_multi_vector_answers_the_requests_of_clients(api: httpx.Client, m3: ByHand, fields: dict[str, Any]) -> None:
    answer: Any = ok(api.post("/v1/multi-vector", json={"model": "bge-m3", "input": TEXTS} | fields))
    assert answer["object"] == "list"
    assert answer["usage"]["total_tokens"] == sum(len(m3.ids(text)) for text in TEXTS)
    assert ("warnings" in answer) == ("dimensions" in fields)  # it was not trained for fewer
    for index, (text, item) in enumerate(zip(TEXTS, answer["data"], strict=True)):
        assert (item["object"], item["index"]) == ("embeddings", index)
        assert_allclose(item["embeddings"], _unit(m3.vectors(text)[:, : fields.get("dimensions")]), atol=ATOL)


def test_multi_vector_dimensions_and_tokens(api: httpx.Client, m3: ByHand) -> None:
    body = {"model": "bge-m3", "input": TEXTS[0], "dimensions": 8, "return_tokens": True, "embedding_type": "base64"}
    (item,) = ok(api.post("/v1/multi-vector", json=body))["data"]
    rows = [np.frombuffer(base64.b64decode(each), "<f4") for each in item["embeddings"]]
    assert_allclose(rows, _unit(m3.vectors(TEXTS[0])[:, :8]), atol=ATOL)
    assert item["tokens"] == m3.tokens(m3.ids(TEXTS[0])[1:])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a", "return_sparse": True}),
        ("/v1/embeddings", {"input": "a", "return_colbert_vecs": True}),
        ("/embed_sparse", {"inputs": "a"}),
        ("/v1/multi-vector", {"input": "a"}),
    ],
)
def test_an_output_that_the_model_does_not_have(
    api: httpx.Client, checkpoint: Checkpoint, path: str, body: dict[str, Any]
) -> None:
    checkpoint(E5)
    message = refused(api.post(path, json={"model": E5} | body), 400, "invalid_value", "model")
    assert "dense vectors" in message
    assert "GET /models" in message
