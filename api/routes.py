"""The table of all routes. Routing, the OpenAPI document, labels in metrics and logs, and docs/api.md come from it."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from api import admin, batches, files, playground, status
from api.context import Context
from api.dialects import cohere, jina, mixedbread, nim, ollama, openai, tei, tei_tokens, voyage
from api.endpoint import Endpoint, Form, post
from api.openapi import OpenAPI, build_document
from api.responses import Answer, answer
from api.routing import Request, Route
from settings import Settings


async def openapi_document(context: Context, _: Request) -> Answer[OpenAPI]:
    """GET /docs.json."""
    return answer(await asyncio.to_thread(_document, context.settings))


@cache
def _document(settings: Settings) -> OpenAPI:
    """The OpenAPI document, cached because building it takes tens of milliseconds."""
    return build_document(ENDPOINTS, settings)


async def documentation_page(context: Context, _: Request) -> Response:
    """GET /."""
    return HTMLResponse(context.documentation_page)


async def bentoml(context: Context, _: Request) -> ASGIApp:
    """Pass the request to BentoML's app."""
    return context.bentoml_app


def _has_texts(content: dict[str, Any]) -> bool:
    return "texts" in content and "documents" not in content


def _has_input(content: dict[str, Any]) -> bool:
    return "input" in content and "documents" not in content


def _has_text(content: dict[str, Any]) -> bool:
    return "text" in content and "input" not in content


def _has_source_sentence(content: dict[str, Any]) -> bool:
    inputs = content.get("inputs")
    return isinstance(inputs, dict) and "source_sentence" in inputs


_TEXTS = ["Mars is red.", "今日は良い天気です。"]
_QUESTION = "Which planet is red?"
_RERANK = {"query": _QUESTION, "documents": _TEXTS, "top_n": 1}
_COHERE_EMBED = {"texts": _TEXTS, "input_type": "search_document", "embedding_types": ["float"]}
_SIMILARITY = {"inputs": {"source_sentence": _QUESTION, "sentences": _TEXTS}}

_NIM = {"query": {"text": _QUESTION}, "passages": [{"text": text} for text in _TEXTS]}
_BATCH_REQUEST = {
    "input_file_id": "file-0123456789abcdef0123456789abcdef",
    "endpoint": "/v1/embeddings",
    "completion_window": "24h",
}
_BATCH: Any = {"errors": (400, 401, 403, 404, 500), "setting": "batch_dir"}

_EMBEDDINGS = Form(openai.EmbeddingRequest, openai.embeddings, {"input": _TEXTS})
_RANKING = Form(openai.RerankRequest, openai.rerank_v1, _RERANK)
_NIM_RANKING = Form(nim.NimRankingRequest, nim.ranking, _NIM)
_TEI_EMBED = Form(tei.TeiEmbedRequest, tei.embed, {"inputs": _TEXTS})

ENDPOINTS = (
    # OpenAI, Jina and Voyage; service.py also declares the first two as BentoML APIs
    post(
        "/v1/embeddings", "A vector of length 1 for each text (OpenAI, Jina, Voyage).", _EMBEDDINGS, task="embeddings"
    ),
    post(
        "/v1/rerank",
        "Documents by relevance, best first (Cohere v1, Jina, Voyage).",
        _RANKING,
        task="rerank",
    ),
    post(
        "/v1/tokenize",
        "The number of tokens of each text. With `text`: the tokens, as Cohere returns them.",
        Form(cohere.CohereTokenizeRequest, cohere.tokenize, {"text": _TEXTS[0]}, fits=_has_text),
        Form(openai.TokenizeRequest, openai.tokenize, {"input": _TEXTS}),
    ),
    post(
        "/v1/multi-vector",
        "A vector of length 1 for each token of each text (Jina), for models with multi-vectors.",
        Form(
            jina.MultiVectorRequest,
            jina.multi_vector,
            {"model": "bge-m3", "input": _TEXTS, "input_type": "document", "embedding_type": "float"},
        ),
        task="embeddings",
    ),
    post("/embeddings", "The same as `/v1/embeddings`.", _EMBEDDINGS, task="embeddings"),
    post(
        "/rerank",
        "The same as `/v1/rerank`. With `texts`: a list of scores (text-embeddings-inference).",
        Form(tei.TeiRerankRequest, tei.rerank, {"query": _QUESTION, "texts": _TEXTS}, fits=_has_texts),
        Form(openai.RerankRequest, openai.rerank_alias, _RERANK),
        task="rerank",
    ),
    # Cohere
    post(
        "/v2/rerank",
        "Documents by relevance, best first (Cohere v2).",
        Form(cohere.CohereRerankRequest, cohere.rerank_v2, {"query": _QUESTION, "documents": _TEXTS}),
        task="rerank",
    ),
    post(
        "/v1/embed",
        "A vector of length 1 for each text (Cohere v1).",
        Form(cohere.CohereEmbedRequest, cohere.embed_v1, _COHERE_EMBED),
        task="embeddings",
    ),
    post(
        "/v2/embed",
        "A vector of length 1 for each text (Cohere v2).",
        Form(cohere.CohereEmbedRequest, cohere.embed_v2, _COHERE_EMBED),
        task="embeddings",
    ),
    Endpoint("POST", "/v1/check-api-key", "200 if the API key is correct (Cohere v1).", cohere.check_api_key),
    # text-embeddings-inference
    post(
        "/embed",
        "A vector of length 1 for each text (text-embeddings-inference). With `texts`: the same as `/v1/embed`.",
        Form(cohere.CohereEmbedRequest, cohere.embed_v1, _COHERE_EMBED, fits=_has_texts),
        _TEI_EMBED,
        task="embeddings",
    ),
    post(
        "/embed_sparse",
        "The weights of tokens for each text (text-embeddings-inference), for models with sparse vectors.",
        Form(tei_tokens.TeiEmbedSparseRequest, tei_tokens.embed_sparse, {"model": "bge-m3", "inputs": _TEXTS}),
        task="embeddings",
    ),
    post(
        "/embed_all",
        "A vector for each token of each text, before pooling (text-embeddings-inference).",
        Form(tei_tokens.TeiEmbedAllRequest, tei_tokens.embed_all, {"inputs": _TEXTS}),
        task="embeddings",
    ),
    post(
        "/similarity",
        "Cosine similarities of sentences to one sentence (text-embeddings-inference).",
        Form(tei.TeiSimilarityRequest, tei.similarity, _SIMILARITY),
        task="embeddings",
    ),
    post(
        "/tokenize",
        "The tokens of each text (text-embeddings-inference).",
        Form(tei.TeiTokenizeRequest, tei.tokenize, {"inputs": _TEXTS}),
    ),
    post(
        "/",
        "The same as `/similarity` or `/embed`, for huggingface_hub's InferenceClient.",
        Form(tei.TeiSimilarityRequest, tei.similarity, _SIMILARITY, fits=_has_source_sentence),
        _TEI_EMBED,
        task="embeddings",
    ),
    Endpoint("GET", "/info", "Facts about the default embedding model (text-embeddings-inference).", tei.info),
    # Ollama
    post(
        "/api/embed",
        "A vector of length 1 for each text (Ollama).",
        Form(ollama.OllamaEmbedRequest, ollama.embed, {"model": "bge-m3:latest", "input": _TEXTS}),
        task="embeddings",
    ),
    post(
        "/api/embeddings",
        "A vector of length 1 for one text (Ollama's older API).",
        Form(ollama.OllamaEmbeddingsRequest, ollama.embeddings, {"model": "bge-m3", "prompt": _TEXTS[0]}),
        task="embeddings",
    ),
    Endpoint("GET", "/api/tags", "The embedding models, as Ollama lists them.", ollama.tags),
    post(
        "/api/show",
        "One model, as Ollama describes it.",
        Form(ollama.OllamaShowRequest, ollama.show, {"model": "bge-m3"}),
    ),
    Endpoint("GET", "/api/ps", "The embedding models in memory, as Ollama lists them.", ollama.loaded),
    Endpoint("GET", "/api/version", "The version of Ollama's API.", ollama.version),
    # Azure OpenAI and Groq
    post(
        "/openai/deployments/{model}/embeddings",
        "The same as `/v1/embeddings`, with the model in the path (Azure OpenAI).",
        _EMBEDDINGS,
        task="embeddings",
    ),
    post("/openai/v1/embeddings", "The same as `/v1/embeddings` (Azure OpenAI, Groq).", _EMBEDDINGS, task="embeddings"),
    Endpoint("GET", "/openai/models", "The same as `/v1/models` (Azure OpenAI).", openai.list_models),
    Endpoint("GET", "/openai/v1/models", "The same as `/v1/models` (Azure OpenAI, Groq).", openai.list_models),
    # Other services
    post(
        "/v1/contextualizedembeddings",
        "A vector of length 1 for each text, sent in a list of its own (Voyage).",
        Form(voyage.ContextualizedRequest, voyage.contextualized, {"inputs": [[text] for text in _TEXTS]}),
        task="embeddings",
    ),
    post("/v1/ranking", "Passages by relevance, best first (NVIDIA NIM).", _NIM_RANKING, task="rerank"),
    post(
        "/v1/retrieval/{model}/reranking",
        "The same as `/v1/ranking`, with the model in the path (NVIDIA NIM).",
        _NIM_RANKING,
        task="rerank",
    ),
    post(
        "/v1/reranking",
        "Inputs by relevance, best first (Mixedbread). With `documents`: the same as `/v1/rerank`.",
        Form(
            mixedbread.MixedbreadRerankRequest,
            mixedbread.rerank,
            {"query": _QUESTION, "input": _TEXTS, "top_k": 1},
            fits=_has_input,
        ),
        _RANKING,
        task="rerank",
    ),
    post("/v1/models/rerank", "The same as `/v1/rerank` (ZeroEntropy).", _RANKING, task="rerank"),
    # OpenAI's batch API
    Endpoint(
        "POST",
        "/v1/files",
        "Upload a file for a batch. Requires `BATCH_DIR`, as do the following routes.",
        files.create,
        upload=files.UPLOAD_SCHEMA,
        errors=(400, 401, 403, 404, 408, 413, 500, 507),
        setting="batch_dir",
    ),
    Endpoint("GET", "/v1/files", "All files. Query: limit, after, order, purpose.", files.list_files, **_BATCH),
    Endpoint("GET", "/v1/files/{id}/content", "The content of a file.", files.content, **_BATCH),
    Endpoint("GET", "/v1/files/{id}", "A file.", files.get, **_BATCH),
    Endpoint("DELETE", "/v1/files/{id}", "Delete a file.", files.delete, **_BATCH),
    post(
        "/v1/batches",
        "Create a batch from an uploaded file.",
        Form(batches.BatchRequest, batches.create, _BATCH_REQUEST),
        setting="batch_dir",
        whole_context=True,
    ),
    Endpoint("GET", "/v1/batches", "All batches. Query: limit, after.", batches.list_batches, **_BATCH),
    Endpoint(
        "POST", "/v1/batches/{id}/cancel", "Cancel a batch. Finished requests are kept.", batches.cancel, **_BATCH
    ),
    Endpoint("GET", "/v1/batches/{id}", "A batch, with its status and request counts.", batches.get, **_BATCH),
    # Models
    Endpoint("GET", "/models", "All models with their facts, prompts, licences and states.", status.models, quiet=True),
    Endpoint("GET", "/v1/models", "All models, as OpenAI lists them.", openai.list_models),
    Endpoint(
        "GET",
        "/v1/models/{name}",
        "One model, as OpenAI describes it. Its name may contain a slash.",
        openai.get_model,
        errors=(401, 404, 500),
    ),
    admin.endpoint("load", "Load a model. It is imported first if necessary. Requires `ADMIN`.", admin.load),
    admin.endpoint("unload", "Unload a model after its requests. Requires `ADMIN`.", admin.unload),
    admin.endpoint("import", "Import a model without loading it. Requires `ADMIN`.", admin.import_model),
    # The service
    Endpoint("GET", "/health", "Status, device and the models in memory.", status.health, open=True, quiet=True),
    Endpoint("GET", "/livez", "200 while the process is healthy.", status.alive, open=True, quiet=True, errors=(503,)),
    Endpoint("GET", "/healthz", "The same as `/livez`.", status.alive, open=True, quiet=True, in_openapi=False),
    Endpoint(
        "GET",
        "/readyz",
        "200 once the models of `PRELOAD_MODELS` are loaded, 503 before.",
        status.ready,
        open=True,
        quiet=True,
        errors=(503,),
    ),
    Endpoint(
        "GET",
        "/metrics",
        "Metrics for Prometheus.",
        status.metrics,
        open=lambda settings: settings.metrics_open,
        quiet=True,
        errors=(503,),
    ),
    # Pages
    Endpoint("GET", "/", "The documentation page.", documentation_page, in_openapi=False),
    Endpoint("GET", "/docs.json", "The OpenAPI document.", openapi_document, in_openapi=False),
    Endpoint("GET", "/schema.json", "The schema that BentoML's clients read.", bentoml, in_openapi=False),
    Endpoint("GET", "/static_content/{file}", "Files of the documentation page.", bentoml, in_openapi=False),
    playground.endpoint(playground.PATH, "A page for trying the service in a browser.", playground.page),
    playground.endpoint(f"{playground.PATH}/{{file}}", "Files of the playground.", playground.file),
)


def bind(context: Context) -> list[Route]:
    """The routes of a service with its settings. Without ADMIN or BATCH_DIR, their routes return how to enable them."""
    return [
        endpoint.bind(context)
        for endpoint in ENDPOINTS
        if endpoint.setting != "playground" or context.settings.playground
    ]
