"""Open WebUI: its server with the embedding engine `openai` and the reranking engine `external` (table.py).

Each document is a file of a knowledge base, which is queried with hybrid search.
"""

from typing import Any

import httpx

from tests.applications.programs.given import given, report
from tests.applications.programs.server import free_port, running

GIVEN = given()
PORT = free_port()
SETTINGS = {
    "RAG_TOP_K": "4",
    "RAG_TOP_K_RERANKER": "4",
    "WEBUI_AUTH": "false",
    "WEBUI_SECRET_KEY": "unused",
    "DATA_DIR": "data",
    "OFFLINE_MODE": "true",
    "ANONYMIZED_TELEMETRY": "false",
    "SCARF_NO_ANALYTICS": "true",
    "DO_NOT_TRACK": "true",
}


def post(client: httpx.Client, path: str, **content: Any) -> Any:
    """The answer to a request; HTTPStatusError if it is refused."""
    answer = client.post(f"/api/v1{path}", **content)
    answer.raise_for_status()
    return answer.json()


command = [f"{GIVEN.folder}/bin/open-webui", "serve", "--host", "127.0.0.1", "--port", str(PORT)]
with running(command, f"http://127.0.0.1:{PORT}", SETTINGS) as client:
    token = post(client, "/auths/signin", json={"email": "", "password": ""})["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    knowledge = post(client, "/knowledge/create", json={"name": "documents", "description": "documents"})["id"]
    for number, text in enumerate(GIVEN.documents):
        file = post(client, "/files/?process=false", files={"file": (f"{number}.txt", text, "text/plain")})["id"]
        post(client, "/retrieval/process/file", json={"file_id": file})
        post(client, f"/knowledge/{knowledge}/file/add", json={"file_id": file})
    body = {"collection_names": [knowledge], "query": GIVEN.query}
    found = post(client, "/retrieval/query/collection", json=body)
texts = found["documents"][0]
report(texts, ranking=list(zip(texts, found["distances"][0], strict=True)))
