"""Flowise: a chatflow of texts, an in-memory vector store, `OpenAI Custom Embedding` and `Azure Rerank Retriever`.

A custom function returns the documents in place of a language model.
"""

import json
import re
from typing import Any

import httpx

from tests.applications.programs.given import given, report
from tests.applications.programs.server import free_port, running

GIVEN = given()
PORT = free_port()
Node = dict[str, Any]


def request(client: httpx.Client, path: str, body: Any = None) -> Any:
    """The answer to a POST request with a body, or to a GET request; RuntimeError if it is refused."""
    answer = client.request("POST" if body else "GET", f"/api/v1{path}", json=body)
    if answer.is_error:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
    return answer.json()


def log_in(client: httpx.Client) -> None:
    """Create the first account, and use it."""
    user = {"email": "user@example.org", "name": "user", "credential": "Passw0rd!of-the-tests"}
    request(client, "/account/register", {"user": user})
    request(client, "/auth/login", {"email": user["email"], "password": user["credential"]})
    client.headers["x-request-from"] = "internal"


def credential(client: httpx.Client, name: str, fields: dict[str, str]) -> str:
    """The id of a new credential."""
    body = {"name": name, "credentialName": name, "plainDataObj": fields}
    return str(request(client, "/credentials", body)["id"])


def node(client: httpx.Client, name: str, inputs: dict[str, Any], **data: Any) -> Node:
    """A node of the flow, as the editor writes it."""
    described = request(client, f"/nodes/{name}")
    more = {"id": data.pop("id", name), "inputs": inputs, "inputParams": described["inputs"]}
    more |= {"inputAnchors": [], "outputAnchors": [], "outputs": {}}
    if "output" in data:
        more["outputs"] = {"output": data.pop("output")}
    return {"id": more["id"], "type": "customNode", "position": {"x": 0, "y": 0}, "data": described | more | data}


def edges(nodes: list[Node]) -> list[Node]:
    """Connections: one for each node that another names in its inputs."""
    return [
        {"id": f"{source}-{target['id']}", "source": source, "target": target["id"]}
        for target in nodes
        for source in re.findall(r"{{(\w+)\.data\.instance}}", json.dumps(target["data"]["inputs"]))
    ]


def flow(client: httpx.Client) -> list[Node]:
    """The nodes."""
    openai = credential(client, "openAIApi", {"openAIApiKey": GIVEN.key})
    fields = {"azureFoundryApiKey": GIVEN.key, "azureFoundryEndpoint": f"{GIVEN.url}/v2/rerank"}
    azure = credential(client, "azureFoundryApi", fields)
    names = [f"text_{number}" for number in range(len(GIVEN.documents))]
    texts = [
        node(client, "plainText", {"text": text}, id=name, output="document")
        for name, text in zip(names, GIVEN.documents, strict=True)
    ]
    embeddings = {"basepath": f"{GIVEN.url}/v1", "modelName": GIVEN.model}
    store = {"document": [f"{{{{{name}.data.instance}}}}" for name in names], "topK": "4"}
    store["embeddings"] = "{{openAIEmbeddingsCustom.data.instance}}"
    rank = {"baseRetriever": "{{memoryVectorStore.data.instance}}", "model": "rerank-v3.5", "topK": "4"}
    code = (
        "return JSON.stringify(JSON.parse($documents).map((each) => [each.pageContent, each.metadata.relevance_score]))"
    )
    function = {
        "javascriptFunction": code,
        "functionInputVariables": '{"documents": "{{AzureRerankRetriever.data.instance}}"}',
    }
    return [
        *texts,
        node(client, "openAIEmbeddingsCustom", embeddings, credential=openai),
        node(client, "memoryVectorStore", store, output="retriever"),
        node(client, "AzureRerankRetriever", rank, output="document", credential=azure),
        node(client, "customFunction", function, output="EndingNode"),
    ]


command = [f"{GIVEN.folder}/node_modules/.bin/flowise", "start"]
with running(command, f"http://127.0.0.1:{PORT}/api/v1/ping", {"PORT": str(PORT), "HOST": "127.0.0.1"}) as client:
    client.base_url = f"http://127.0.0.1:{PORT}"
    log_in(client)
    nodes = flow(client)
    drawn = json.dumps({"nodes": nodes, "edges": edges(nodes)})
    chatflow = request(client, "/chatflows", {"name": "documents", "flowData": drawn, "type": "CHATFLOW"})["id"]
    ranking = request(client, f"/prediction/{chatflow}", {"question": GIVEN.query})
report([text for text, _ in ranking], ranking=ranking)
