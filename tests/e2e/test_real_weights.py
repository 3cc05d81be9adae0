"""The README's requests, and vectors equal to sentence-transformers for many kinds of text."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from tests.conftest import MODEL
from tests.e2e.conftest import MAX_TOKENS
from tests.e2e.texts import mixed_texts, random_batches
from tests.serving import Served
from tests.tolerance import min_cosine, openvino_precision

TEXTS = mixed_texts()
MIN_COSINE = min_cosine(openvino_precision())
DOCUMENTS = [
    "Machine learning is a branch of artificial intelligence.",
    "Today is a beautiful sunny day.",
    "Deep learning is a method of machine learning.",
]

Floats = NDArray[np.float32]


def curl(served: Served, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The response of a curl command."""
    command = ["curl", "-sS", "--fail-with-body", f"{served.url}{path}", "-H", "Content-Type: application/json"]
    done = subprocess.run([*command, "-d", json.dumps(body)], capture_output=True, check=True, timeout=300)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_curl_embeddings(served: Served, reference: SentenceTransformer) -> None:
    inputs = ["Natural language processing is fascinating.", "The weather forecast shows rain."]
    answer = curl(served, "/v1/embeddings", {"model": MODEL, "input": inputs})
    assert answer["object"] == "list"
    assert answer["model"] == MODEL
    assert [len(entry["embedding"]) for entry in answer["data"]] == [384, 384]
    tokens = int(reference.tokenize(inputs)["attention_mask"].sum())
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_curl_rerank(served: Served) -> None:
    body = {"model": MODEL, "query": "What is machine learning?", "documents": DOCUMENTS, "top_n": 2}
    answer = curl(served, "/v1/rerank", body | {"return_documents": True})
    assert [result["index"] for result in answer["results"]] == [0, 2]
    assert [result["document"] for result in answer["results"]] == [DOCUMENTS[0], DOCUMENTS[2]]
    assert 1 >= answer["results"][0]["relevance_score"] >= answer["results"][1]["relevance_score"] >= 0
    assert answer["meta"]["total_documents"] == 3
    assert answer["meta"]["returned_documents"] == 2


@pytest.fixture(scope="module")
def reference(weights: Path) -> SentenceTransformer:
    """sentence-transformers with the same weights in float32."""
    return SentenceTransformer(str(weights), device="cpu", model_kwargs={"dtype": torch.float32})


@pytest.fixture(scope="module")
def expected(reference: SentenceTransformer) -> Floats:
    """The reference's vectors (N, D)."""
    return np.asarray(reference.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False))


def embed(client: httpx.Client, texts: list[str]) -> Floats:
    """The service's vectors (N, D)."""
    response = client.post("/v1/embeddings", json={"model": MODEL, "input": texts})
    assert response.status_code == 200, response.text
    return np.asarray([entry["embedding"] for entry in response.json()["data"]], dtype=np.float32)


def smallest_cosine(ours: Floats, theirs: Floats) -> float:
    """The smallest cosine of corresponding rows; both have unit rows."""
    return float((ours.astype(np.float64) * theirs.astype(np.float64)).sum(1).min())


def test_all_texts_in_one_request(client: httpx.Client, reference: SentenceTransformer, expected: Floats) -> None:
    """Checks vectors, tokens and truncation."""
    assert len(TEXTS) == 200
    answer = client.post("/v1/embeddings", json={"model": MODEL, "input": TEXTS}).json()
    vectors = np.asarray([entry["embedding"] for entry in answer["data"]], dtype=np.float32)
    assert smallest_cosine(vectors, expected) > MIN_COSINE
    counts = [len(reference.tokenizer(text, truncation=False, verbose=False)["input_ids"]) for text in TEXTS]
    too_long = [index for index, count in enumerate(counts) if count > MAX_TOKENS]
    assert answer["usage"]["prompt_tokens"] == sum(min(count, MAX_TOKENS) for count in counts)
    assert len(too_long) > 10
    assert max(counts) > 3 * MAX_TOKENS
    assert answer["warnings"] == [
        f"input.{index} was cut from {counts[index]} tokens to the model's limit of {MAX_TOKENS}." for index in too_long
    ]


def test_each_text_in_its_own_request(client: httpx.Client, expected: Floats) -> None:
    ours = np.concatenate([embed(client, [text]) for text in TEXTS])
    assert smallest_cosine(ours, expected) > MIN_COSINE


def test_random_batches_in_concurrent_requests(client: httpx.Client, expected: Floats) -> None:
    """Concurrent requests share forward passes, and each gets its own vectors."""
    batches = random_batches(len(TEXTS), seed=3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda batch: embed(client, [TEXTS[index] for index in batch]), batches))
    for batch, vectors in zip(batches, answers, strict=True):
        assert smallest_cosine(vectors, expected[batch]) > MIN_COSINE


def test_health_answers_while_many_passages_are_computed(client: httpx.Client) -> None:
    """Passages are sent until /health has answered twenty times."""
    passages = [f"{number} {TEXTS[number % len(TEXTS)]}" for number in range(128)]
    answered = requests = 0
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=client.base_url, timeout=300) as other:
        while answered < 20:
            requests += 1
            assert requests <= 5
            large = pool.submit(embed, client, passages)
            while not large.done():
                assert other.get("/health").status_code == 200
                answered += not large.done()
            assert len(large.result()) == 128


def test_docs_page(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert client.get("/docs.json").json()["info"]["title"] == "Rerank & Embedding API"
