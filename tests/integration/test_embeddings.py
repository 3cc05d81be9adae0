"""/v1/embeddings: OpenAI's format, with the vectors of sentence-transformers."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from tests.integration import reference
from tests.integration.conftest import Checkpoint, embed, ok
from tests.integration.reference import ATOL, LONG, TEXTS, ReferenceEmbedder
from tests.tolerance import sum_atol

LIMITS = {
    "sentence-transformers/all-MiniLM-L6-v2": 256,  # BERT, mean
    "BAAI/bge-small-en-v1.5": 512,  # BERT, cls
    "intfloat/multilingual-e5-base": 512,  # XLM-RoBERTa, mean
    "BAAI/bge-m3": 8192,  # XLM-RoBERTa, cls
    "sentence-transformers/all-mpnet-base-v2": 384,  # MPNet
    "cl-nagoya/ruri-base": 512,  # BERT for Japanese, MeCab
    "sonoisa/sentence-luke-japanese-base-lite": 80,  # LUKE
    "Alibaba-NLP/gte-modernbert-base": 8192,  # ModernBERT
}
"""Full name -> token limit on the model card."""
SHORT_LIMITS = [name for name, limit in LIMITS.items() if limit <= 512]

Floats = NDArray[np.float32]


@pytest.fixture(params=LIMITS)
def name(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> str:
    """Each model, imported."""
    checkpoint(request.param)
    full_name: str = request.param
    return full_name


def expected(name: str, checkpoint: Checkpoint) -> ReferenceEmbedder:
    return reference.embedder(name, checkpoint(name), LIMITS[name])


def vectors(body: dict[str, Any]) -> Floats:
    """The vectors (N, D) of a response, whose entries must be in the order of `index`."""
    assert [entry["index"] for entry in body["data"]] == list(range(len(body["data"])))
    return np.asarray([entry["embedding"] for entry in body["data"]], dtype=np.float32)


def test_vectors_equal_the_reference(name: str, checkpoint: Checkpoint, api: httpx.Client) -> None:
    model = expected(name, checkpoint)
    together = vectors(embed(api, TEXTS, model=name))
    assert_allclose(together, model.encode(TEXTS), atol=ATOL)
    assert_allclose(np.linalg.norm(together, axis=1), 1, atol=sum_atol(together.shape[1]))


def test_other_texts_do_not_change_a_vector(name: str, api: httpx.Client) -> None:
    alone = np.concatenate([vectors(embed(api, [text], model=name)) for text in TEXTS])
    backwards = vectors(embed(api, TEXTS[::-1], model=name))[::-1]
    twice = vectors(embed(api, TEXTS + TEXTS, model=name))
    assert_allclose(alone, backwards, atol=ATOL)
    assert_allclose(alone, twice[: len(TEXTS)], atol=ATOL)
    assert_allclose(alone, twice[len(TEXTS) :], atol=ATOL)


def test_usage_is_the_tokenizers_count(name: str, checkpoint: Checkpoint, api: httpx.Client) -> None:
    model = expected(name, checkpoint)
    usage = embed(api, [*TEXTS, TEXTS[0]], model=name)["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] == model.count([*TEXTS, TEXTS[0]])


@pytest.mark.parametrize("name", SHORT_LIMITS)
def test_long_texts_are_truncated_with_a_warning(name: str, checkpoint: Checkpoint, api: httpx.Client) -> None:
    model = expected(name, checkpoint)
    limit = LIMITS[name]
    body = embed(api, ["short", LONG, LONG], model=name)
    assert_allclose(vectors(body), model.encode(["short", LONG, LONG]), atol=ATOL)
    assert body["usage"]["prompt_tokens"] == model.count(["short"]) + 2 * limit
    first, second = body["warnings"]
    assert first.startswith("input.1 was cut from ")
    assert second.startswith("input.2 was cut from ")
    assert first.endswith(f" tokens to the model's limit of {limit}.")


@pytest.mark.parametrize("name", SHORT_LIMITS)
def test_a_text_at_the_limit_is_not_truncated(name: str, checkpoint: Checkpoint, api: httpx.Client) -> None:
    model = expected(name, checkpoint)
    limit = LIMITS[name]
    words = 1
    while model.count(["1 " * (words + 1)]) < limit:
        words += 1
    exact, beyond = "1 " * (words + 1), "1 " * (words + 2)
    assert model.count([exact]) == limit
    body = embed(api, [exact], model=name, truncate=False)
    assert "warnings" not in body
    assert body["usage"]["prompt_tokens"] == limit
    assert_allclose(vectors(body), model.encode([exact]), atol=ATOL)
    refused = api.post("/v1/embeddings", json={"input": ["a", beyond], "model": name, "truncate": False})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "input_too_long"
    assert refused.json()["error"]["param"] == "input.1"
    assert f"{limit + 1} tokens" in refused.json()["error"]["message"]


def test_dimensions_truncates_then_normalizes(checkpoint: Checkpoint, api: httpx.Client) -> None:
    full = vectors(embed(api, TEXTS))
    cut = vectors(embed(api, TEXTS, dimensions=8))
    lengths = np.linalg.norm(full[:, :8], axis=1, keepdims=True)
    assert cut.shape == (len(TEXTS), 8)
    assert_allclose(cut, full[:, :8] / lengths, atol=ATOL)
    width = full.shape[1]
    assert_allclose(vectors(embed(api, TEXTS, dimensions=width)), full, atol=ATOL)
    for wrong in (0, -1, width + 1):
        refused = api.post("/v1/embeddings", json={"input": "a", "dimensions": wrong})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "dimensions"


def test_base64_is_little_endian_float32(checkpoint: Checkpoint, api: httpx.Client) -> None:
    for fields in ({}, {"dimensions": 5}):
        plain = vectors(embed(api, TEXTS, **fields))
        coded = embed(api, TEXTS, encoding_format="base64", **fields)["data"]
        decoded = [np.frombuffer(base64.b64decode(entry["embedding"]), dtype="<f4") for entry in coded]
        assert_allclose(np.stack(decoded), plain, atol=ATOL)


def test_the_default_encoding_is_float(checkpoint: Checkpoint, api: httpx.Client) -> None:
    for fields in ({}, {"encoding_format": None}, {"encoding_format": "float"}):
        assert isinstance(embed(api, ["a"], **fields)["data"][0]["embedding"], list)


def test_response_format(api: httpx.Client) -> None:
    body = embed(api, ["a", "b"], user="somebody")
    assert set(body) == {"object", "data", "model", "usage"}  # and `id`, which `embed` checks
    assert embed(api, ["a", "b"], unknown_field={"is": "ignored"}) == body | {
        "warnings": ["Ignored fields: unknown_field."]
    }
    assert body["object"] == "list"
    assert body["model"] == "BAAI/bge-m3"
    assert [set(entry) for entry in body["data"]] == [{"object", "index", "embedding"}] * 2
    assert {entry["object"] for entry in body["data"]} == {"embedding"}


def test_a_single_string_is_accepted(api: httpx.Client) -> None:
    single = ok(api.post("/v1/embeddings", json={"input": "only one"}))
    assert_allclose(vectors(single), vectors(embed(api, ["only one"])), atol=ATOL)


@pytest.mark.parametrize("name", ["bge-m3", "BAAI/bge-m3", "BGE-M3", "baai/bge-m3"])
def test_the_response_repeats_the_model_name(api: httpx.Client, name: str) -> None:
    body = embed(api, ["a"], model=name)
    assert body["model"] == name
    assert_allclose(vectors(body), vectors(embed(api, ["a"])), atol=ATOL)


def test_embedding_with_a_reranker_is_rejected(api: httpx.Client) -> None:
    refused = api.post("/v1/embeddings", json={"input": "a", "model": "bge-reranker-v2-m3"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "wrong_model_kind"
    assert refused.json()["error"]["param"] == "model"
