"""mem0: a memory with the embedder `openai` and the reranker `cohere`; no language model is called."""

from mem0 import Memory

from tests.applications.programs.given import given, report

GIVEN = given()

memory = Memory.from_config(
    {
        "embedder": {
            "provider": "openai",
            "config": {"model": GIVEN.model, "openai_base_url": f"{GIVEN.url}/v1", "api_key": GIVEN.key},
        },
        "reranker": {"provider": "cohere", "config": {"model": GIVEN.model, "api_key": GIVEN.key}},
        "vector_store": {
            "provider": "qdrant",
            "config": {"path": "qdrant", "embedding_model_dims": GIVEN.dimensions},
        },
        "llm": {"provider": "openai", "config": {"api_key": "unused"}},
        "history_db_path": "history.db",
    }
)
for text in GIVEN.documents:
    memory.add(text, user_id="user", infer=False)
results = memory.search(GIVEN.query, filters={"user_id": "user"}, threshold=0.0, rerank=True)["results"]
ranking = [(each["memory"], each["rerank_score"]) for each in results]
report([text for text, _ in ranking], ranking=ranking)
