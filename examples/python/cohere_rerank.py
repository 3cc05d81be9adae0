"""Reranking with Cohere's client.

pip install cohere
BASE_URL=http://localhost:7987 MODEL=all-minilm-l6-v2 python cohere_rerank.py
"""

import os

import cohere

BASE_URL = os.environ.get("BASE_URL", "http://localhost:7987")
MODEL = os.environ.get("MODEL", "all-minilm-l6-v2")

QUERY = "What is machine learning?"
DOCUMENTS = [
    "Today is a beautiful sunny day.",
    "Machine learning is a branch of artificial intelligence.",
    "Deep learning is a method of machine learning.",
]

client = cohere.ClientV2(api_key=os.environ.get("API_KEY", "none"), base_url=BASE_URL)
answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=2)

for result in answer.results:
    print(f"{result.relevance_score:.4f}  {DOCUMENTS[result.index]}")
