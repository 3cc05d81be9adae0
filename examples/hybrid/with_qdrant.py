"""Hybrid search with Qdrant: dense and sparse vectors, fused by Qdrant (RRF), then reranked.

    pip install httpx qdrant-client
    MODEL=bge-m3 RERANKER=bge-reranker-v2-m3 python with_qdrant.py biggest planet

Qdrant runs in this process here. For a server: QdrantClient("http://localhost:6333").
"""

from hybrid_service import CANDIDATES, embed, question, read_passages, show
from qdrant_client import QdrantClient, models

passages = read_passages()
vectors = embed([passage["text"] for passage in passages], "document")

store = QdrantClient(":memory:")
store.create_collection(
    "passages",
    vectors_config={"dense": models.VectorParams(size=len(vectors[0]["embedding"]), distance=models.Distance.COSINE)},
    sparse_vectors_config={"sparse": models.SparseVectorParams()},
)
store.upsert(
    "passages",
    [
        models.PointStruct(
            id=number,
            vector={"dense": each["embedding"], "sparse": models.SparseVector(**each["sparse_embedding"])},
            payload=passage,
        )
        for number, (passage, each) in enumerate(zip(passages, vectors, strict=True))
    ],
)

query = question()
(asked,) = embed([query], "query")
found = store.query_points(
    "passages",
    prefetch=[
        models.Prefetch(query=asked["embedding"], using="dense", limit=CANDIDATES),
        models.Prefetch(query=models.SparseVector(**asked["sparse_embedding"]), using="sparse", limit=CANDIDATES),
    ],
    query=models.RrfQuery(rrf=models.Rrf(k=60)),
    limit=CANDIDATES,
)
show(query, [point.payload["text"] for point in found.points])
