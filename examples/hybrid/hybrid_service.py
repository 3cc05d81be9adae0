"""What the programs in this folder request from the service: vectors of passages and questions, and a ranking."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx

MODEL = os.environ.get("MODEL", "bge-m3")
SPARSE_MODEL = os.environ.get("SPARSE_MODEL", MODEL)
RERANKER = os.environ.get("RERANKER", MODEL)
PASSAGES = Path(__file__).parent.parent / "search/passages.jsonl"
CANDIDATES = 8
RESULTS = 3

key = os.environ.get("API_KEY")
client = httpx.Client(
    base_url=os.environ.get("BASE_URL", "http://localhost:7987"),
    headers={"Authorization": f"Bearer {key}"} if key else {},
    timeout=600,
)


def post(path: str, **body: Any) -> Any:
    """The response of the service."""
    answer = client.post(path, json=body)
    if answer.is_error:
        sys.exit(answer.json()["error"]["message"])
    return answer.json()


def read_passages() -> list[dict[str, str]]:
    """Passages with the keys id and text."""
    return list(map(json.loads, PASSAGES.read_text(encoding="utf-8").splitlines()))


def question() -> str:
    """The text given on the command line."""
    return " ".join(sys.argv[1:]) or "Which planet is known as the Red Planet?"


def embed(texts: list[str], side: str) -> list[dict[str, Any]]:
    """A dense and a sparse vector of each text, in one request if one model has both.

    `side` is query or document: it selects the prompt of a model that has prompts.
    """
    fields = {"input": texts, "input_type": side}
    if SPARSE_MODEL == MODEL:
        return list(post("/v1/embeddings", model=MODEL, return_sparse=True, **fields)["data"])
    dense = post("/v1/embeddings", model=MODEL, **fields)["data"]
    sparse = post("/v1/embeddings", model=SPARSE_MODEL, return_dense=False, return_sparse=True, **fields)["data"]
    return [one | other for one, other in zip(dense, sparse, strict=True)]


def rerank(query: str, texts: list[str]) -> list[tuple[float, str]]:
    """The best of the texts, with their scores."""
    results = post("/v1/rerank", model=RERANKER, query=query, documents=texts, top_n=RESULTS)["results"]
    return [(result["relevance_score"], texts[result["index"]]) for result in results]


def show(query: str, candidates: list[str]) -> None:
    """Print the candidates of the first step, and the best of them."""
    print("candidates:", *(f"  {text}" for text in candidates), sep="\n")
    print("best:", *(f"  {score:.4f}  {text}" for score, text in rerank(query, candidates)), sep="\n")
