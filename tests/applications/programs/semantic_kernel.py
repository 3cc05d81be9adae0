"""Semantic Kernel: `OpenAITextEmbedding` in a collection of the in-memory store."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAITextEmbedding
from semantic_kernel.connectors.in_memory import InMemoryStore
from semantic_kernel.data.vector import VectorStoreField, vectorstoremodel

from tests.applications.programs.given import given, report

GIVEN = given()
embedder = OpenAITextEmbedding(
    ai_model_id=GIVEN.model, async_client=AsyncOpenAI(base_url=f"{GIVEN.url}/v1", api_key=GIVEN.key)
)


@vectorstoremodel
@dataclass
class Row:
    """A document; its vector is computed from the text when the row is stored."""

    key: Annotated[str, VectorStoreField("key")]
    text: Annotated[str, VectorStoreField("data")]
    vector: Annotated[
        list[float] | str | None,
        VectorStoreField("vector", dimensions=GIVEN.dimensions, embedding_generator=embedder),
    ] = None


async def main() -> None:
    """Store the documents and search them."""
    async with InMemoryStore().get_collection(Row, collection_name="documents") as collection:
        await collection.ensure_collection_exists()
        keys = [str(number) for number in range(len(GIVEN.documents))]
        await collection.upsert([Row(*pair, pair[1]) for pair in zip(keys, GIVEN.documents, strict=True)])
        results = await collection.search(GIVEN.query, vector_property_name="vector", top=2)
        found = [result.record.text async for result in results.results]
        kept = await collection.get(keys=keys, include_vectors=True)
    by_text = {row.text: row.vector for row in kept}
    report(found, vectors=[by_text[text] for text in GIVEN.documents])


asyncio.run(main())
