"""txtai: embeddings with `method: litellm`."""

from txtai import Embeddings

from tests.applications.programs.given import given, report

GIVEN = given()

embeddings = Embeddings(
    path=f"openai/{GIVEN.model}",
    method="litellm",
    vectors={"api_base": f"{GIVEN.url}/v1", "api_key": GIVEN.key},
    content=True,
)
embeddings.index(GIVEN.documents)
found = [result["text"] for result in embeddings.search(GIVEN.query, 2)]
report(found, vectors=embeddings.batchtransform(GIVEN.documents))
