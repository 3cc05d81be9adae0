"""LanceDB: a table with the `ollama` embedding function, searched with `CohereReranker`."""

import lancedb
from lancedb.embeddings import EmbeddingFunctionConfig, get_registry
from lancedb.rerankers import CohereReranker

from tests.applications.programs.given import given, report

GIVEN = given()

embedder = (
    get_registry()
    .get("ollama")
    .create(
        name=GIVEN.model,
        host=GIVEN.url,
        ollama_client_kwargs={"headers": {"Authorization": f"Bearer {GIVEN.key}"}},
    )
)
function = EmbeddingFunctionConfig(source_column="text", vector_column="vector", function=embedder)
rows = [{"text": text} for text in GIVEN.documents]
table = lancedb.connect("lancedb").create_table("documents", data=rows, embedding_functions=[function])
reranker = CohereReranker(model_name=GIVEN.model, api_key=GIVEN.key)
results = table.search(GIVEN.query).rerank(reranker).limit(4).to_list()
ranking = [(row["text"], row["_relevance_score"]) for row in results]
report([text for text, _ in ranking], vectors=table.to_pandas()["vector"], ranking=ranking)
