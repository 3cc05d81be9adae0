"""Hybrid search with Milvus: dense and sparse vectors, fused by Milvus (RRF), then reranked.

    pip install httpx pymilvus milvus-lite
    MODEL=bge-m3 RERANKER=bge-reranker-v2-m3 python with_milvus.py biggest planet

Milvus Lite writes to a file here. For a server: MilvusClient("http://localhost:19530").
"""

import tempfile
from typing import Any

from hybrid_service import CANDIDATES, embed, question, read_passages, show
from pymilvus import AnnSearchRequest, DataType, MilvusClient, RRFRanker

passages = read_passages()
vectors = embed([passage["text"] for passage in passages], "document")


def weights(vector: dict[str, Any]) -> dict[int, float]:
    """A sparse vector as Milvus takes it: token id -> weight."""
    return dict(zip(vector["sparse_embedding"]["indices"], vector["sparse_embedding"]["values"], strict=True))


with tempfile.TemporaryDirectory() as folder:
    store = MilvusClient(f"{folder}/passages.db")
    schema = store.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=10_000)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=len(vectors[0]["embedding"]))
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    indexes = store.prepare_index_params()
    indexes.add_index("dense", index_type="FLAT", metric_type="IP")
    indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    store.create_collection("passages", schema=schema, index_params=indexes)
    store.insert(
        "passages",
        [
            {"id": number, "text": passage["text"], "dense": each["embedding"], "sparse": weights(each)}
            for number, (passage, each) in enumerate(zip(passages, vectors, strict=True))
        ],
    )

    query = question()
    (asked,) = embed([query], "query")
    (found,) = store.hybrid_search(
        "passages",
        [
            AnnSearchRequest([asked["embedding"]], "dense", {}, limit=CANDIDATES),
            AnnSearchRequest([weights(asked)], "sparse", {}, limit=CANDIDATES),
        ],
        ranker=RRFRanker(),
        limit=CANDIDATES,
        output_fields=["text"],
    )
    show(query, [hit["entity"]["text"] for hit in found])
    store.close()
