"""n8n: a workflow of an in-memory vector store with `Embeddings OpenAI`, and an `HTTP Request` that reranks.

Its node `Reranker Cohere` has no field for a URL. The workflow is run by n8n's command line.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.applications.programs.given import given, report

GIVEN = given()
CREDENTIAL = {"openAiApi": {"id": "service", "name": "service"}}
STORE = "@n8n/n8n-nodes-langchain.vectorStoreInMemory"
MEMORY_KEY = {"__rl": True, "mode": "list", "value": "documents"}
Node = dict[str, Any]


def node(name: str, kind: str, version: float, parameters: dict[str, Any], **more: Any) -> Node:
    """A node of the workflow, as the editor writes it."""
    placed = {"id": name, "name": name, "type": kind, "typeVersion": version, "position": [0, 0]}
    return placed | {"parameters": parameters} | more


def connected(kind: str, *targets: str) -> dict[str, Any]:
    """The connections of one node to others."""
    return {kind: [[{"node": target, "type": kind, "index": 0} for target in targets]]}


def workflow() -> dict[str, Any]:
    """Embed and store the documents, search for the query, and rerank what was found."""
    found = "$('Search').all().map((each) => each.json.document.pageContent)"
    body = (
        f"={{{{ {{ model: '{GIVEN.model}', query: '{GIVEN.query}', documents: {found}, return_documents: true }} }}}}"
    )
    given_texts = {"mode": "raw", "jsonOutput": json.dumps({"text": GIVEN.documents}), "options": {}}
    loader = {"jsonMode": "expressionData", "jsonData": "={{ $json.text }}", "textSplittingMode": "simple"}
    request = {
        "method": "POST",
        "url": f"{GIVEN.url}/v1/rerank",
        "authentication": "predefinedCredentialType",
        "nodeCredentialType": "openAiApi",
        "sendBody": True,
        "specifyBody": "json",
        "jsonBody": body,
    }
    nodes = [
        node("Start", "n8n-nodes-base.manualTrigger", 1, {}),
        node("Documents", "n8n-nodes-base.set", 3.4, given_texts),
        node("Split", "n8n-nodes-base.splitOut", 1, {"fieldToSplitOut": "text"}),
        node("Store", STORE, 1.3, {"mode": "insert", "memoryKey": MEMORY_KEY}),
        node("Loader", "@n8n/n8n-nodes-langchain.documentDefaultDataLoader", 1.1, loader),
        node("Search", STORE, 1.3, {"mode": "load", "memoryKey": MEMORY_KEY, "prompt": GIVEN.query}, executeOnce=True),
        node(
            "Embeddings",
            "@n8n/n8n-nodes-langchain.embeddingsOpenAi",
            1.2,
            {"model": GIVEN.model},
            credentials=CREDENTIAL,
        ),
        node("Rerank", "n8n-nodes-base.httpRequest", 4.2, request, credentials=CREDENTIAL, executeOnce=True),
    ]
    connections = {
        "Start": connected("main", "Documents"),
        "Documents": connected("main", "Split"),
        "Split": connected("main", "Store"),
        "Loader": connected("ai_document", "Store"),
        "Embeddings": connected("ai_embedding", "Store", "Search"),
        "Store": connected("main", "Search"),
        "Search": connected("main", "Rerank"),
    }
    return {"id": "documents", "name": "documents", "nodes": nodes, "connections": connections, "active": False}


def n8n(*arguments: str) -> str:
    """The output of n8n's command line; RuntimeError with it if it fails."""
    command = [f"{GIVEN.folder}/node_modules/.bin/n8n", *arguments]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"n8n {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


data = {"apiKey": GIVEN.key, "url": f"{GIVEN.url}/v1"}
credentials = [{"id": "service", "name": "service", "type": "openAiApi", "data": data}]
Path("credentials.json").write_text(json.dumps(credentials), encoding="utf-8")
Path("workflow.json").write_text(json.dumps([workflow()]), encoding="utf-8")
n8n("import:credentials", "--input=credentials.json")
n8n("import:workflow", "--input=workflow.json")
output = n8n("execute", "--id=documents", "--rawOutput")
runs = json.loads(output[output.index("{\n") :])["data"]["resultData"]["runData"]
results = runs["Rerank"][0]["data"]["main"][0][0]["json"]["results"]
ranking = [(each["document"], each["relevance_score"]) for each in results]
report([text for text, _ in ranking], ranking=ranking)
