"""DSPy: `dspy.Embedder` and the retriever over its vectors."""

import dspy

from tests.applications.programs.given import given, report

GIVEN = given()

embedder = dspy.Embedder(f"openai/{GIVEN.model}", api_base=f"{GIVEN.url}/v1", api_key=GIVEN.key, caching=False)
search = dspy.retrievers.Embeddings(GIVEN.documents, embedder, k=2)
report(search(GIVEN.query).passages, vectors=embedder(GIVEN.documents))
