"""One request of every kind against a running service, printed with its answer.

pip install httpx
BASE_URL=http://localhost:7987 MODEL=all-minilm-l6-v2 python api_tour.py
"""

import json
import os
from typing import Any

import httpx

BASE_URL = os.environ.get("BASE_URL", "http://localhost:7987")
MODEL = os.environ.get("MODEL", "all-minilm-l6-v2")
API_KEY = os.environ.get("API_KEY")

SHOWN_ITEMS = 3
QUERY = "What is machine learning?"
DOCUMENTS = ["Today is a beautiful sunny day.", "Deep learning is a method of machine learning.", "機械学習とは何か"]

STEPS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("Is it alive, and on which device?", "GET /health", None),
    ("Is every model loaded that was asked for at start?", "GET /readyz", None),
    ("Every model with its facts", "GET /models", None),
    ("The same as OpenAI lists them", "GET /v1/models", None),
    ("One of them", f"GET /v1/models/{MODEL}", None),
    ("Vectors (OpenAI)", "POST /v1/embeddings", {"model": MODEL, "input": DOCUMENTS}),
    (
        "Short vectors of whole numbers (Voyage)",
        "POST /v1/embeddings",
        {"model": MODEL, "input": QUERY, "output_dimension": 8, "output_dtype": "int8"},
    ),
    ("Vectors by type (Cohere)", "POST /v2/embed", {"model": MODEL, "texts": [QUERY], "embedding_types": ["ubinary"]}),
    ("Vectors (text-embeddings-inference)", "POST /embed", {"model": MODEL, "inputs": QUERY}),
    (
        "A ranking (Cohere v1, Jina)",
        "POST /v1/rerank",
        {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_n": 2, "return_documents": True},
    ),
    ("A ranking (Cohere v2)", "POST /v2/rerank", {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}),
    ("A ranking (text-embeddings-inference)", "POST /rerank", {"model": MODEL, "query": QUERY, "texts": DOCUMENTS}),
    (
        "Cosines to one sentence",
        "POST /similarity",
        {"model": MODEL, "inputs": {"source_sentence": QUERY, "sentences": DOCUMENTS}},
    ),
    ("How many tokens texts have", "POST /v1/tokenize", {"model": MODEL, "input": DOCUMENTS}),
    ("Which ones they are", "POST /tokenize", {"model": MODEL, "inputs": "machine learning"}),
    ("A model that does not exist", "POST /v1/embeddings", {"model": f"{MODEL}-huge", "input": QUERY}),
    ("A field that is wrong", "POST /v1/rerank", {"model": MODEL, "query": QUERY, "documents": []}),
]


def main() -> None:
    """Every step in turn."""
    headers = {"Authorization": f"Bearer {API_KEY}"} if API_KEY else {}
    with httpx.Client(base_url=BASE_URL, headers=headers, timeout=600) as client:
        for title, request, body in STEPS:
            method, path = request.split()
            answer = client.request(method, path, json=body) if body else client.request(method, path)
            print(f"# {title}")
            print(f"{request} {json.dumps(body, ensure_ascii=False) if body else ''}".rstrip())
            print(f"{answer.status_code} {shown(answer)}\n")


def shown(answer: httpx.Response) -> str:
    """An answer's body, long lists cut short."""
    if not answer.headers["content-type"].startswith("application/json"):
        return answer.text.strip()
    return json.dumps(_short(answer.json()), ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(entry) for key, entry in value.items()}
    if not isinstance(value, list):
        return round(value, 4) if isinstance(value, float) else value
    more = len(value) - SHOWN_ITEMS
    return [_short(entry) for entry in value[:SHOWN_ITEMS]] + ([f"... {more} more"] if more > 0 else [])


if __name__ == "__main__":
    main()
