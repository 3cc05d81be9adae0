"""Qdrant in local mode, with vectors from OpenAI's client, as its documentation does."""

import openai
from qdrant_client import QdrantClient, models

from tests.applications.programs.given import given, report

GIVEN = given()


def embed(texts: list[str]) -> list[list[float]]:
    """A vector for each text."""
    client = openai.OpenAI(base_url=f"{GIVEN.url}/v1", api_key=GIVEN.key)
    return [each.embedding for each in client.embeddings.create(model=GIVEN.model, input=texts).data]


qdrant = QdrantClient(":memory:")
size = models.VectorParams(size=GIVEN.dimensions, distance=models.Distance.COSINE)
qdrant.create_collection("documents", vectors_config=size)
points = [
    models.PointStruct(id=number, vector=vector, payload={"text": text})
    for number, (text, vector) in enumerate(zip(GIVEN.documents, embed(GIVEN.documents), strict=True))
]
qdrant.upsert("documents", points)
found = qdrant.query_points("documents", query=embed([GIVEN.query])[0], limit=2).points
kept = qdrant.retrieve("documents", ids=list(range(len(points))), with_vectors=True)
report([point.payload["text"] for point in found], vectors=[point.vector for point in kept])
