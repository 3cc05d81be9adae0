"""A search in two steps, as in retrieval-augmented generation: embeddings find candidates, a reranker sorts them.

    pip install httpx
    BASE_URL=http://localhost:7987 MODEL=bge-m3 RERANKER=bge-reranker-v2-m3 python rag_search.py 首都はどこですか

Without RERANKER, the embedding model also ranks the candidates.
"""

import os
import sys

import httpx

BASE_URL = os.environ.get("BASE_URL", "http://localhost:7987")
MODEL = os.environ.get("MODEL", "all-minilm-l6-v2")
RERANKER = os.environ.get("RERANKER", MODEL)
API_KEY = os.environ.get("API_KEY")

TEXTS = [
    "日本の首都は東京です。",
    "火星は赤い惑星として知られています。",
    "パスワードを忘れた場合は、設定画面から再発行してください。",
    "The capital of France is Paris.",
    "Mars is known as the Red Planet because of its reddish surface.",
    "Open the settings page to choose a new password.",
    "Green tea is best with water at eighty degrees.",
]
CANDIDATES = 4
RESULTS = 2


def main() -> None:
    """Search for the text given on the command line."""
    question = " ".join(sys.argv[1:]) or "Which planet is red?"
    headers = {"Authorization": f"Bearer {API_KEY}"} if API_KEY else {}
    with httpx.Client(base_url=BASE_URL, headers=headers, timeout=600) as client:
        documents = embed(client, TEXTS, "document")  # once; a real program stores them in a database
        (query,) = embed(client, [question], "query")
        cosines = [sum(a * b for a, b in zip(query, vector, strict=True)) for vector in documents]
        nearest = sorted(range(len(TEXTS)), key=lambda index: -cosines[index])[:CANDIDATES]
        print(f"nearest to {question!r}:")
        for index in nearest:
            print(f"  {cosines[index]:.4f}  {TEXTS[index]}")
        print("best of them:")
        for score, text in rank(client, question, [TEXTS[index] for index in nearest]):
            print(f"  {score:.4f}  {text}")


def embed(client: httpx.Client, texts: list[str], side: str) -> list[list[float]]:
    """Unit vectors. `side` selects the prompt of a model that has prompts."""
    answer = client.post("/v1/embeddings", json={"model": MODEL, "input": texts, "input_type": side}).raise_for_status()
    return [entry["embedding"] for entry in answer.json()["data"]]


def rank(client: httpx.Client, query: str, documents: list[str]) -> list[tuple[float, str]]:
    """The most relevant documents with their scores."""
    body = {"model": RERANKER, "query": query, "documents": documents, "top_n": RESULTS}
    answer = client.post("/v1/rerank", json=body).raise_for_status()
    return [(result["relevance_score"], documents[result["index"]]) for result in answer.json()["results"]]


if __name__ == "__main__":
    main()
