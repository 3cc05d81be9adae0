"""agno: a knowledge base in LanceDB with `OpenAIEmbedder` and `CohereReranker`."""

from agno.knowledge.embedder.openai import OpenAIEmbedder
from agno.knowledge.knowledge import Knowledge
from agno.knowledge.reranker.cohere import CohereReranker
from agno.vectordb.lancedb import LanceDb

from tests.applications.programs.given import given, report

GIVEN = given()

embedder = OpenAIEmbedder(id=GIVEN.model, dimensions=GIVEN.dimensions, base_url=f"{GIVEN.url}/v1", api_key=GIVEN.key)
reranker = CohereReranker(model=GIVEN.model, api_key=GIVEN.key)
store = LanceDb(uri="lancedb", table_name="documents", embedder=embedder)
knowledge = Knowledge(vector_db=store, reranker=reranker, max_results=len(GIVEN.documents))
for number, text in enumerate(GIVEN.documents):
    knowledge.insert(name=str(number), text_content=text)
results = knowledge.search(GIVEN.query)
ranking = [(each.content, each.reranking_score) for each in results]
rows = {text: embedder.get_embedding(text) for text in GIVEN.documents}
report([text for text, _ in ranking], vectors=[rows[text] for text in GIVEN.documents], ranking=ranking)
