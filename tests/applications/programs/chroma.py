"""Chroma: a collection with `OpenAIEmbeddingFunction`."""

import chromadb
from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction

from tests.applications.programs.given import given, report

GIVEN = given()

embedder = OpenAIEmbeddingFunction(api_base=f"{GIVEN.url}/v1", model_name=GIVEN.model)
collection = chromadb.PersistentClient("chroma").create_collection("documents", embedding_function=embedder)
collection.add(ids=[str(number) for number in range(len(GIVEN.documents))], documents=GIVEN.documents)

found = collection.query(query_texts=[GIVEN.query], n_results=2)["documents"]
kept = collection.get(ids=[str(number) for number in range(len(GIVEN.documents))], include=["embeddings", "documents"])
by_text = dict(zip(kept["documents"], kept["embeddings"], strict=True))
report(found[0], vectors=[by_text[text] for text in GIVEN.documents])
