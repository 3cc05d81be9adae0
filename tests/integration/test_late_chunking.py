"""Late chunking: the numbers of transformers, pooled by hand from the tokens of each chunk."""

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

TEXTS = ["Berlin is the capital of Germany.", "Its population is 3.9 million.", "東京は日本の首都です。"]
CLS_MODEL = DEFAULT_EMBEDDER


class ByHand:
    """A model with mean pooling in transformers."""

    def __init__(self, folder: Any) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def chunks(self, text: str, spans: list[tuple[int, int]], prompt: str = "") -> NDArray[np.float32]:
        """The mean of the states of the tokens that cover a character of each span, normalized."""
        encoded = self.tokenizer(prompt + text, return_tensors="pt", return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")[0].tolist()
        with torch.inference_mode():
            (states,) = self.model(**encoded).last_hidden_state.numpy()
        special = self.tokenizer.get_special_tokens_mask(encoded["input_ids"][0], already_has_special_tokens=True)
        rows = []
        for start, end in spans:
            inside = [
                place
                for place, (first, stop) in enumerate(offsets)
                if not special[place] and first < end + len(prompt) and stop > start + len(prompt)
            ]
            rows.append(states[inside].mean(axis=0))
        vectors = np.stack(rows)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def spans_of(texts: list[str]) -> list[tuple[int, int]]:
    """The characters of each text, in the texts joined by spaces."""
    whole = " ".join(texts)
    starts = [whole.index(text) for text in texts]
    return [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]


@pytest.fixture(scope="module")
def by_hand(checkpoint: Checkpoint) -> ByHand:
    return ByHand(checkpoint(E5))


def vectors(api: httpx.Client, **body: Any) -> NDArray[np.float32]:
    """The vectors of a response, one for each index."""
    data = ok(api.post("/v1/embeddings", json={"model": E5} | body))["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.asarray([item["embedding"] for item in data], dtype=np.float32)


@pytest.mark.parametrize(("side", "prompt"), [(None, ""), ("document", "passage: ")])
def test_each_text_is_pooled_from_its_own_tokens(
    api: httpx.Client, by_hand: ByHand, side: str | None, prompt: str
) -> None:
    found = vectors(api, input=TEXTS, late_chunking=True, input_type=side)
    assert_allclose(found, by_hand.chunks(" ".join(TEXTS), spans_of(TEXTS), prompt), atol=ATOL)
    apart = vectors(api, input=TEXTS, input_type=side)
    assert np.abs(found - apart).max() > 0.01  # the texts have seen each other


def test_chunks_of_one_text_by_characters(api: httpx.Client, by_hand: ByHand) -> None:
    text = " ".join(TEXTS)
    spans = [(0, 6), (3, 40), (40, len(text))]
    found = vectors(api, input=text, chunks=spans)
    assert_allclose(found, by_hand.chunks(text, spans), atol=ATOL)
    assert_allclose(vectors(api, input=[text], chunks=spans, late_chunking=True), found, atol=ATOL)


def test_dimensions_are_truncated_after_pooling(api: httpx.Client, by_hand: ByHand) -> None:
    cut = by_hand.chunks(" ".join(TEXTS), spans_of(TEXTS))[:, :7]
    expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    assert_allclose(vectors(api, input=TEXTS, late_chunking=True, dimensions=7), expected, atol=ATOL)


def test_usage_counts_the_tokens_once(api: httpx.Client, by_hand: ByHand) -> None:
    body = ok(api.post("/v1/embeddings", json={"model": E5, "input": TEXTS, "late_chunking": True}))
    assert body["usage"]["prompt_tokens"] == len(by_hand.tokenizer(" ".join(TEXTS))["input_ids"])


@pytest.mark.parametrize(
    ("body", "param", "reason"),
    [
        ({"model": CLS_MODEL, "input": TEXTS, "late_chunking": True}, "late_chunking", "not the mean of its tokens"),
        ({"input": [[5, 6], [7]], "token_encoding": "model", "late_chunking": True}, "input", "must be text"),
        ({"input": TEXTS, "chunks": [[0, 5]]}, "input", "chunks are those of one text"),
        ({"input": "short", "chunks": [[0, 5], [2, 9]]}, "chunks.1", "which has 5"),
        ({"input": "a   b", "chunks": [[0, 1], [2, 3]]}, "chunks.1", "has no tokens"),
        ({"input": TEXTS, "late_chunking": True, "dimensions": 4096}, "dimensions", "must be between 1"),
    ],
)
def test_what_cannot_be_pooled_is_rejected_with_the_reason(
    api: httpx.Client, body: dict[str, Any], param: str, reason: str
) -> None:
    assert reason in refused(api.post("/v1/embeddings", json={"model": E5} | body), 400, "invalid_value", param)


def test_texts_beyond_the_limit_are_rejected(api: httpx.Client) -> None:
    response = api.post("/v1/embeddings", json={"model": E5, "input": TEXTS * 40, "late_chunking": True})
    assert "the model takes 512" in refused(response, 400, "input_too_long", "input")
