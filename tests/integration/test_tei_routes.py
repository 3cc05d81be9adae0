"""The routes of text-embeddings-inference: numbers of sentence-transformers, token ids of transformers."""

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from transformers import AutoTokenizer

from tests.errors import refused
from tests.integration import reference
from tests.integration.conftest import DEFAULT_EMBEDDER, E5, Checkpoint, ok
from tests.integration.reference import ATOL, LONG, TEXTS, ReferenceEmbedder, ReferenceReranker
from tests.tiny import corpus
from tests.tolerance import scaled

RERANKER_512 = "BAAI/bge-reranker-base"
QUERY = corpus.ENGLISH[0]


@pytest.fixture
def tokenizer(checkpoint: Checkpoint) -> Any:
    """transformers' for the default embedding model."""
    return AutoTokenizer.from_pretrained(checkpoint(DEFAULT_EMBEDDER))


def vectors(api: httpx.Client, path: str, **body: Any) -> NDArray[np.float32]:
    """The vectors of a response, which is a plain list."""
    return np.asarray(ok(api.post(path, json=body)), dtype=np.float32)


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_embed_returns_a_plain_list_of_vectors(api: httpx.Client, default: ReferenceEmbedder, path: str) -> None:
    assert_allclose(vectors(api, path, inputs=TEXTS), default.encode(TEXTS), atol=ATOL)
    assert_allclose(vectors(api, path, inputs=TEXTS[0]), default.encode(TEXTS[:1]), atol=ATOL)


def test_token_ids_are_those_of_the_model(api: httpx.Client, default: ReferenceEmbedder, tokenizer: Any) -> None:
    ids = tokenizer(TEXTS[:6], add_special_tokens=False)["input_ids"]
    assert_allclose(vectors(api, "/embed", inputs=ids), default.encode(TEXTS[:6]), atol=ATOL)
    assert_allclose(vectors(api, "/embed", inputs=ids[0]), default.encode(TEXTS[:1]), atol=ATOL)


def test_an_unknown_token_id_is_rejected_with_its_index(api: httpx.Client) -> None:
    message = refused(api.post("/embed", json={"inputs": [[5], [5], [7, 10**6]]}), 400, "invalid_value", "inputs.2")
    assert message.startswith("inputs.2 has a token id outside this model's vocabulary")
    refused(api.post("/embed", json={"inputs": [-1]}), 400, "invalid_value", "inputs.0")


@pytest.mark.parametrize("normalize", [False, "false"])
def test_normalize_false_returns_raw_vectors(api: httpx.Client, default: ReferenceEmbedder, normalize: object) -> None:
    raw = vectors(api, "/embed", inputs=TEXTS, normalize=normalize)
    pooled = default.pooled(TEXTS)
    assert_allclose(raw, pooled, atol=scaled(pooled, ATOL))
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.01
    assert_allclose(vectors(api, "/embed", inputs=TEXTS, normalize=True), default.encode(TEXTS), atol=ATOL)


def test_dimensions(api: httpx.Client, default: ReferenceEmbedder) -> None:
    cut = default.encode(TEXTS)[:, :7]
    expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    assert_allclose(vectors(api, "/embed", inputs=TEXTS, dimensions=7), expected, atol=ATOL)
    raw = vectors(api, "/embed", inputs=TEXTS, dimensions=7, normalize=False)
    pooled = default.pooled(TEXTS)[:, :7]
    assert_allclose(raw, pooled, atol=scaled(pooled, ATOL))


@pytest.mark.parametrize(("name", "prompt"), [("query", "query: "), ("document", "passage: "), (None, None)])
def test_prompt_name_selects_the_prompt(
    api: httpx.Client, e5: ReferenceEmbedder, name: str | None, prompt: str | None
) -> None:
    found = vectors(api, "/embed", model=E5, inputs=TEXTS, prompt_name=name)
    assert_allclose(found, e5.encode(TEXTS, prompt=prompt), atol=ATOL)


@pytest.mark.parametrize(
    ("direction", "side"), [("left", "left"), ("Left", "left"), ("right", "right"), (None, "right")]
)
def test_truncation_direction(api: httpx.Client, e5: ReferenceEmbedder, direction: str | None, side: Any) -> None:
    found = vectors(api, "/embed", model=E5, inputs=["short", LONG], truncation_direction=direction)
    assert_allclose(found, e5.encode(["short", LONG], cut=side), atol=ATOL)


def test_left_truncation_keeps_the_prompt(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    found = vectors(api, "/embed", model=E5, inputs=[LONG], truncation_direction="left", prompt_name="query")
    assert_allclose(found, e5.encode([LONG], prompt="query: ", cut="left"), atol=ATOL)


def test_truncate_false_rejects_long_texts(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    body = {"model": E5, "inputs": ["a", LONG], "truncate": False, "truncation_direction": "left"}
    refused(api.post("/embed", json=body), 400, "input_too_long", "inputs.1")


@pytest.mark.parametrize("path", ["/similarity", "/"])
def test_similarity(api: httpx.Client, default: ReferenceEmbedder, path: str) -> None:
    found = ok(api.post(path, json={"inputs": {"source_sentence": QUERY, "sentences": TEXTS}}))
    assert_allclose(np.asarray(found), default.encode(TEXTS) @ default.encode([QUERY])[0], atol=ATOL)
    (same,) = ok(api.post(path, json={"inputs": {"source_sentence": QUERY, "sentences": [QUERY]}}))
    assert 0.99999 < float(same) <= 1


def test_similarity_uses_its_parameters(api: httpx.Client, e5: ReferenceEmbedder) -> None:
    inputs = {"source_sentence": QUERY, "sentences": [TEXTS[0], LONG]}
    parameters = {"prompt_name": "query", "truncation_direction": "left"}
    found = ok(api.post("/similarity", json={"model": E5, "inputs": inputs, "parameters": parameters}))
    cut = e5.encode([QUERY, TEXTS[0], LONG], prompt="query: ", cut="left")
    assert_allclose(np.asarray(found), cut[1:] @ cut[0], atol=ATOL)


def scores(results: Any) -> list[float]:
    """The scores in the order of the texts."""
    return [result["score"] for result in sorted(results, key=lambda result: result["index"])]


@pytest.mark.parametrize("raw", [False, True])
def test_rerank(api: httpx.Client, reranker: ReferenceReranker, raw: bool) -> None:
    results: Any = ok(api.post("/rerank", json={"query": QUERY, "texts": TEXTS, "raw_scores": raw}))
    expected = reranker.predict(QUERY, TEXTS, raw=raw)
    assert_allclose(scores(results), expected, atol=scaled(expected, ATOL))
    assert [result["score"] for result in results] == sorted(scores(results), reverse=True)
    assert all(set(result) == {"index", "score"} for result in results)


def test_rerank_returns_texts_on_request(api: httpx.Client) -> None:
    results: Any = ok(api.post("/rerank", json={"query": QUERY, "texts": TEXTS, "return_text": True}))
    assert [result["text"] for result in results] == [TEXTS[result["index"]] for result in results]


@pytest.mark.parametrize("direction", ["left", "right"])
@pytest.mark.parametrize("query", [QUERY, LONG])
def test_truncation_direction_of_a_pair(api: httpx.Client, checkpoint: Checkpoint, query: str, direction: Any) -> None:
    model = reference.reranker(RERANKER_512, checkpoint(RERANKER_512), 512)
    body = {"model": RERANKER_512, "query": query, "texts": ["short", LONG], "truncation_direction": direction}
    results = ok(api.post("/rerank", json=body))
    assert_allclose(scores(results), model.predict(query, ["short", LONG], cut=direction), atol=ATOL)
    refused(api.post("/rerank", json=body | {"texts": ["short", LONG], "truncate": False}), 400, "input_too_long",
            f"texts.{0 if query == LONG else 1}")  # fmt: skip


def test_rerank_with_documents_returns_the_v1_format(api: httpx.Client, reranker: ReferenceReranker) -> None:
    body = {"query": QUERY, "documents": TEXTS[:3], "texts": ["x"]}
    alias, original = (ok(api.post(path, json=body)) for path in ("/rerank", "/v1/rerank"))
    assert alias["results"] == original["results"]
    found = {result["index"]: result["relevance_score"] for result in alias["results"]}
    assert_allclose([found[index] for index in range(3)], reranker.predict(QUERY, TEXTS[:3]), atol=ATOL)


def test_tokens_are_those_of_transformers(api: httpx.Client, tokenizer: Any) -> None:
    body: Any = ok(api.post("/tokenize", json={"inputs": TEXTS}))
    for text, tokens in zip(TEXTS, body, strict=True):
        encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        assert [token["id"] for token in tokens] == encoded["input_ids"]
        assert [token["special"] for token in tokens] == [bool(flag) for flag in encoded["special_tokens_mask"]]
        for token, (start, stop) in zip(tokens, encoded["offset_mapping"], strict=True):
            assert set(token) == {"id", "text", "special", "start", "stop"}
            if token["special"]:
                assert (token["text"], token["start"]) == (tokenizer.convert_ids_to_tokens(token["id"]), None)
            else:
                assert (token["start"], token["stop"], token["text"]) == (start, stop, text[start:stop])


@pytest.mark.parametrize("special", [False, True])
def test_add_special_tokens(api: httpx.Client, tokenizer: Any, special: bool) -> None:
    body: Any = ok(api.post("/tokenize", json={"inputs": QUERY, "add_special_tokens": special}))
    assert [token["id"] for token in body[0]] == tokenizer(QUERY, add_special_tokens=special)["input_ids"]


def test_tokens_include_the_prompt_and_exceed_the_limit(api: httpx.Client, checkpoint: Checkpoint) -> None:
    theirs = AutoTokenizer.from_pretrained(checkpoint(E5))
    body: Any = ok(api.post("/tokenize", json={"model": E5, "inputs": [LONG], "prompt_name": "query"}))
    assert len(body[0]) > 512
    assert [token["id"] for token in body[0]] == theirs(f"query: {LONG}")["input_ids"]


def test_info(api: httpx.Client, default: ReferenceEmbedder) -> None:
    info = ok(api.get("/info"))
    assert info["model_id"] == DEFAULT_EMBEDDER
    (listed,) = [model for model in ok(api.get("/models"))["models"] if model["full_name"] == DEFAULT_EMBEDDER]
    assert info["model_sha"] == listed["revision"]
    assert info["model_type"] == {"embedding": {"pooling": "cls"}}
    assert (info["max_input_length"], info["model_dtype"], info["max_client_batch_size"]) == (8192, "float32", 2048)
    assert info["auto_truncate"] is True


WRONG: list[tuple[str, dict[str, Any], str]] = [
    *[(path, {}, "inputs") for path in ("/embed", "/", "/similarity", "/tokenize")],
    *[(path, {"inputs": []}, "inputs") for path in ("/embed", "/", "/similarity", "/tokenize")],
    *[(path, {"inputs": ["a", ""]}, "inputs.1") for path in ("/embed", "/", "/tokenize")],
    ("/embed", {"inputs": ["a"] * 2049}, "inputs"),
    ("/embed", {"inputs": "a", "normalize": 1}, "normalize"),
    ("/embed", {"inputs": "a", "truncate": "perhaps"}, "truncate"),
    ("/embed", {"inputs": "a", "truncation_direction": "up"}, "truncation_direction"),
    ("/embed", {"inputs": "a", "prompt_name": "sts"}, "prompt_name"),
    ("/embed", {"inputs": "a", "dimensions": 0}, "dimensions"),
    ("/embed", {"inputs": "a", "dimensions": 10**6}, "dimensions"),
    ("/similarity", {"inputs": {"source_sentence": "a"}}, "inputs.sentences"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, "inputs.sentences"),
    ("/", {"inputs": {"source_sentence": None, "sentences": ["a"]}}, "inputs.source_sentence"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["a"] * 2049}}, "sentences"),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": 1}, "parameters"),
    ("/tokenize", {"inputs": [[1, 2]]}, "inputs"),
    ("/tokenize", {"inputs": "a", "add_special_tokens": "perhaps"}, "add_special_tokens"),
    ("/rerank", {"texts": ["a"]}, "query"),
    ("/rerank", {"query": "q", "texts": []}, "texts"),
    ("/rerank", {"query": "q", "texts": ["a", 1]}, "texts.1"),
    ("/rerank", {"query": "q", "texts": ["a"], "truncate_prompt_tokens": 9}, "truncate_prompt_tokens"),
    ("/embed", {"inputs": "a", "late_chunking": True}, "late_chunking"),
    ("/embed_sparse", {"inputs": ["a", ""]}, "inputs.1"),
    ("/embed_sparse", {"inputs": "a", "top_k": 0}, "top_k"),
    ("/embed_all", {"inputs": "a", "return_sparse": True}, "return_sparse"),
    ("/embed_all", {"inputs": 1}, "inputs"),
    ("/rerank", {"query": "q", "texts": ["a"] * 1001}, "texts"),
    ("/rerank", {"query": "q", "texts": ["a"], "raw_scores": 1}, "raw_scores"),
    ("/rerank", {"query": "q", "texts": ["a"], "return_text": "perhaps"}, "return_text"),
    ("/rerank", {"query": "q"}, "documents"),
]


@pytest.mark.parametrize(("path", "body", "param"), WRONG)
def test_an_error_names_the_invalid_field(api: httpx.Client, path: str, body: dict[str, Any], param: str) -> None:
    refused(api.post(path, json=body), 400, "invalid_value", param)
