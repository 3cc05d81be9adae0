"""CrewAI: knowledge and memory with the embedder `openai`; no language model is called."""

from crewai import Memory
from crewai.knowledge.knowledge import Knowledge
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource

from tests.applications.programs.given import given, report

GIVEN = given()
EMBEDDER = {
    "provider": "openai",
    "config": {"model_name": GIVEN.model, "api_base": f"{GIVEN.url}/v1", "api_key": GIVEN.key},
}

sources = [StringKnowledgeSource(content=text) for text in GIVEN.documents]
knowledge = Knowledge(collection_name="documents", sources=sources, embedder=EMBEDDER)
knowledge.add_sources()
found = knowledge.query([GIVEN.query], results_limit=2, score_threshold=0.0)

memory = Memory(embedder=EMBEDDER, storage="memory")
for text in GIVEN.documents:
    memory.remember(text, scope="/", categories=[], importance=0.5, metadata={})
recalled = memory.recall(GIVEN.query, depth="shallow", limit=2)
memory.close()
texts = [each["content"] for each in found]
assert [match.record.content for match in recalled] == texts
report(texts)
