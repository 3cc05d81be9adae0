"""Hybrid search with LanceDB: dense vectors and a vector for each token (ColBERT), fused by RRF, then reranked.

    pip install httpx lancedb
    MODEL=bge-m3 RERANKER=bge-reranker-v2-m3 python with_lancedb.py biggest planet

LanceDB has no sparse vectors; it compares token vectors by MaxSim.
"""

import tempfile
from typing import Any

import lancedb
import pyarrow
from hybrid_service import CANDIDATES, MODEL, post, question, read_passages, show

RRF = 60


def embed(texts: list[str], side: str) -> list[dict[str, Any]]:
    """A dense vector and token vectors of each text."""
    return list(post("/v1/embeddings", model=MODEL, input=texts, input_type=side, return_colbert_vecs=True)["data"])


passages = read_passages()
vectors = embed([passage["text"] for passage in passages], "document")
width, token_width = len(vectors[0]["embedding"]), len(vectors[0]["colbert_vecs"][0])
schema = pyarrow.schema(
    {
        "text": pyarrow.string(),
        "dense": pyarrow.list_(pyarrow.float32(), width),
        "tokens": pyarrow.list_(pyarrow.list_(pyarrow.float32(), token_width)),
    }
)
rows = [
    {"text": passage["text"], "dense": each["embedding"], "tokens": each["colbert_vecs"]}
    for passage, each in zip(passages, vectors, strict=True)
]

with tempfile.TemporaryDirectory() as folder:
    table = lancedb.connect(folder).create_table("passages", rows, schema=schema)
    query = question()
    (asked,) = embed([query], "query")
    scores: dict[str, float] = {}
    for column, vector in (("dense", asked["embedding"]), ("tokens", asked["colbert_vecs"])):
        found = table.search(vector, vector_column_name=column).distance_type("cosine").limit(CANDIDATES).to_list()
        for place, row in enumerate(found, 1):
            scores[row["text"]] = scores.get(row["text"], 0) + 1 / (RRF + place)
    show(query, sorted(scores, key=lambda text: -scores[text])[:CANDIDATES])
