"""Send one request to each route of a running service and print the responses.

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
    ("Status, device and loaded models", "GET /health", None),
    ("Ready: are the models of PRELOAD_MODELS loaded?", "GET /readyz", None),
    ("All models with their properties", "GET /models", None),
    ("All models (OpenAI)", "GET /v1/models", None),
    ("One model (OpenAI)", f"GET /v1/models/{MODEL}", None),
    ("Embeddings (OpenAI)", "POST /v1/embeddings", {"model": MODEL, "input": DOCUMENTS}),
    (
        "Short embeddings of integers (Voyage)",
        "POST /v1/embeddings",
        {"model": MODEL, "input": QUERY, "output_dimension": 8, "output_dtype": "int8"},
    ),
    (
        "Binary embeddings (Cohere)",
        "POST /v2/embed",
        {"model": MODEL, "texts": [QUERY], "embedding_types": ["ubinary"]},
    ),
    ("Embeddings (text-embeddings-inference)", "POST /embed", {"model": MODEL, "inputs": QUERY}),
    (
        "Reranking (Cohere v1, Jina)",
        "POST /v1/rerank",
        {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_n": 2, "return_documents": True},
    ),
    ("Reranking (Cohere v2)", "POST /v2/rerank", {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}),
    ("Reranking (text-embeddings-inference)", "POST /rerank", {"model": MODEL, "query": QUERY, "texts": DOCUMENTS}),
    (
        "Cosine similarity to one sentence",
        "POST /similarity",
        {"model": MODEL, "inputs": {"source_sentence": QUERY, "sentences": DOCUMENTS}},
    ),
    ("Token counts", "POST /v1/tokenize", {"model": MODEL, "input": DOCUMENTS}),
    ("Tokens of a text", "POST /tokenize", {"model": MODEL, "inputs": "machine learning"}),
    ("Error: unknown model", "POST /v1/embeddings", {"model": f"{MODEL}-huge", "input": QUERY}),
    ("Error: invalid field", "POST /v1/rerank", {"model": MODEL, "query": QUERY, "documents": []}),
]


def main() -> None:
    """Run all steps in order."""
    headers = {"Authorization": f"Bearer {API_KEY}"} if API_KEY else {}
    with httpx.Client(base_url=BASE_URL, headers=headers, timeout=600) as client:
        for title, request, body in STEPS:
            method, path = request.split()
            response = client.request(method, path, json=body) if body else client.request(method, path)
            print(f"# {title}")
            print(f"{request} {json.dumps(body, ensure_ascii=False) if body else ''}".rstrip())
            print(f"{response.status_code} {shown(response)}\n")


def shown(response: httpx.Response) -> str:
    """The body of a response, with long lists shortened."""
    if not response.headers["content-type"].startswith("application/json"):
        return response.text.strip()
    return json.dumps(_short(response.json()), ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(entry) for key, entry in value.items()}
    if not isinstance(value, list):
        return round(value, 4) if isinstance(value, float) else value
    more = len(value) - SHOWN_ITEMS
    return [_short(entry) for entry in value[:SHOWN_ITEMS]] + ([f"... {more} more"] if more > 0 else [])


if __name__ == "__main__":
    main()
