"""The OpenAPI document of every route, built from the request schemas."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from api.schemas import EmbeddingRequest, RerankRequest
from settings import Settings

_REF = "#/components/schemas/{model}"

_ERRORS = {
    "400": "The request is wrong; `param` names the field.",
    "404": "No such route or model.",
    "405": "The route exists for another method.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "429": "Too much work is queued; `Retry-After` says when to try again.",
    "500": "Our fault; the log says what.",
    "502": "A provider to which the request was forwarded failed.",
    "503": "The model cannot be served now; the message says why.",
    "504": "No answer within the deadline.",
}
_POST_ERRORS = ("400", "404", "408", "413", "429", "500", "502", "503", "504")

_ERROR_SCHEMA = {
    "type": "object",
    "description": "One body for every status, in the words of OpenAI, Cohere and Jina at once.",
    "required": ["error", "message", "detail"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": "string", "nullable": True},
                "code": {"type": "string"},
            },
        },
        "message": {"type": "string"},
        "detail": {"type": "string"},
    },
}
_USAGE = {
    "type": "object",
    "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
}
_WARNINGS = {"type": "array", "items": {"type": "string"}, "description": "Only when there is something to say."}
_EMBEDDING_ANSWER = {
    "type": "object",
    "required": ["object", "model", "data", "usage"],
    "properties": {
        "object": {"type": "string", "enum": ["list"]},
        "model": {"type": "string"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["object", "index", "embedding"],
                "properties": {
                    "object": {"type": "string", "enum": ["embedding"]},
                    "index": {"type": "integer"},
                    "embedding": {
                        "oneOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string", "format": "byte"}]
                    },
                },
            },
        },
        "usage": _USAGE,
        "warnings": _WARNINGS,
    },
}
_RERANK_ANSWER = {
    "type": "object",
    "required": ["id", "model", "results", "usage", "meta"],
    "properties": {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "relevance_score"],
                "properties": {
                    "index": {"type": "integer"},
                    "relevance_score": {"type": "number", "minimum": 0, "maximum": 1},
                    "document": {"type": "string", "description": "Only if return_documents is true."},
                },
            },
        },
        "usage": _USAGE,
        "meta": {
            "type": "object",
            "properties": {
                "api_version": {"type": "string"},
                "processing_time_ms": {"type": "number"},
                "total_documents": {"type": "integer"},
                "returned_documents": {"type": "integer"},
                "warnings": _WARNINGS,
            },
        },
    },
}


def build_document(settings: Settings) -> dict[str, Any]:
    """The whole document, with the limits that are in force."""
    schemas: dict[str, Any] = {"Error": _ERROR_SCHEMA, "Embeddings": _EMBEDDING_ANSWER, "Ranking": _RERANK_ANSWER}
    for body in (EmbeddingRequest, RerankRequest):
        schemas[body.__name__] = _openapi_3_0(body.model_json_schema(ref_template=_REF))
    schemas["EmbeddingRequest"]["properties"]["input"]["anyOf"][1]["maxItems"] = settings.max_inputs
    schemas["RerankRequest"]["properties"]["documents"]["maxItems"] = settings.max_documents
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Rerank & Embedding API",
            "version": "1",
            "description": "OpenAI-compatible embeddings and Cohere/Jina-style reranking over Hugging Face models.",
        },
        "servers": [{"url": "."}],
        "paths": {
            "/v1/embeddings": {"post": _post("Texts to unit vectors.", EmbeddingRequest, "Embeddings")},
            "/v1/rerank": {"post": _post("Documents by relevance to a query.", RerankRequest, "Ranking")},
            "/models": {"get": _get("Every model with its facts and state.")},
            "/v1/models": {"get": _get("The models, as OpenAI lists them.")},
            "/v1/models/{name}": {"get": _one_model()},
            "/health": {"get": _get("The process is alive; which models it holds.")},
            "/livez": {"get": _probe("Liveness probe.")},
            "/readyz": {"get": _probe("200 once the models asked for at start are loaded, 503 before.")},
            "/metrics": {"get": _probe("Prometheus metrics.")},
        },
        "components": {"schemas": schemas},
    }


def _post(summary: str, body: type[BaseModel], answer: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=body.__name__)}}},
        },
        "responses": {"200": _json("The answer.", answer), **{code: _error(code) for code in _POST_ERRORS}},
    }


def _get(summary: str) -> dict[str, Any]:
    ok = {"description": "The answer.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"summary": summary, "responses": {"200": ok, "500": _error("500")}}


def _one_model() -> dict[str, Any]:
    operation = _get("One model; its name may hold a slash.")
    operation["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    operation["responses"]["404"] = _error("404")
    return operation


def _probe(summary: str) -> dict[str, Any]:
    text = {"description": "The answer.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": text, "503": _error("503")}}


def _error(code: str) -> dict[str, Any]:
    return _json(_ERRORS[code], "Error")


def _json(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(model=schema)}}}
    return {"description": description, "content": content}


def _openapi_3_0(schema: dict[str, Any]) -> dict[str, Any]:
    """Pydantic writes `anyOf [X, null]`; OpenAPI 3.0 says `nullable`."""
    for name, field in schema["properties"].items():
        options = field.get("anyOf", [])
        if {"type": "null"} in options:
            (value,) = [option for option in options if option != {"type": "null"}]
            rest = {key: part for key, part in field.items() if key not in ("anyOf", "default")}
            schema["properties"][name] = {**rest, **value, "nullable": True}
    return schema
