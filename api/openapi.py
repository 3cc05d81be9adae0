"""The OpenAPI document of every route, built from the request schemas."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from api.admin import ACTS
from api.answer_schemas import ANSWERS
from api.playground import PAGE
from api.posts import BENTOML_POSTS, POSTS, Post
from settings import Settings

_REF = "#/components/schemas/{model}"

_DESCRIPTION = "OpenAI-compatible embeddings and Cohere/Jina-style reranking over Hugging Face models."
_PLAYGROUND = f" [Try it out in the playground](.{PAGE})."

_ERRORS = {
    "400": "The request is wrong; `param` names the field.",
    "401": "The service wants an API key, and the request has none that it knows.",
    "403": "The settings do not allow it.",
    "404": "No such route or model.",
    "405": "The route exists for another method.",
    "408": "The body did not arrive in time.",
    "409": "The model is in use, or on its way into memory.",
    "413": "The body is too large.",
    "429": "Too much work is queued; `Retry-After` says when to try again.",
    "500": "Our fault; the log says what.",
    "502": "A provider to which the request was forwarded failed.",
    "503": "The model cannot be served now; the message says why.",
    "504": "No answer within the deadline.",
}
_ACT_ERRORS = ("400", "401", "403", "404", "408", "409", "413", "500", "503", "504")
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_POST_ERRORS = ("400", "401", "404", "408", "413", "429", "500", "502", "503", "504")


def build_document(settings: Settings) -> dict[str, Any]:
    """The whole document, with the limits that are in force."""
    posts = [post for post in (*BENTOML_POSTS, *POSTS) if post.task is None or post.task in settings.serve_tasks]
    schemas = dict(ANSWERS)
    for body in {form.schema for post in posts for form in post.forms}:
        schemas |= _components(body)
    for name, field, limit in (
        ("EmbeddingRequest", "input", settings.max_inputs),
        ("RerankRequest", "documents", settings.max_documents),
    ):
        if name in schemas:
            _limit(schemas[name]["properties"][field], limit)
    paths: dict[str, Any] = {
        "/models": {"get": _get("Every model with its facts and state.", answer="Models")},
        "/v1/models": {"get": _get("The models, as OpenAI lists them.")},
        "/v1/models/{name}": {"get": _one_model()},
        "/info": {"get": _get("The default embedding model (text-embeddings-inference).")},
        "/health": {"get": _get("The process is alive; which models it holds.")},
        "/livez": {"get": _probe("Liveness probe.")},
        "/readyz": {"get": _probe("200 once the models asked for at start are loaded, 503 before.")},
        "/metrics": {"get": _probe("Prometheus metrics.")},
    }
    if settings.admin:
        paths |= {f"/models/{{name}}/{act}": {"post": _act(summary)} for act, (_, summary) in ACTS.items()}
    document: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {
            "title": "Rerank & Embedding API",
            "version": "1",
            "description": _DESCRIPTION + (_PLAYGROUND if settings.playground else ""),
        },
        "servers": [{"url": "."}],
        "paths": {post.path: {"post": _post(post)} for post in posts} | paths,
        "components": {"schemas": schemas},
    }
    if settings.keys:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
        document["security"] = [{"bearer": []}, {"header": []}]
    return document


def _post(post: Post) -> dict[str, Any]:
    bodies = [{"$ref": _REF.format(model=form.schema.__name__)} for form in post.forms]
    answers = [{"$ref": _REF.format(model=form.answer)} for form in post.forms]
    return {
        "summary": post.summary,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _any(bodies),
                    "examples": {form.schema.__name__: {"value": form.example} for form in post.forms},
                }
            },
        },
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": _any(answers)}}},
            **{code: _error(code) for code in _POST_ERRORS},
        },
    }


def _any(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _get(summary: str, answer: str | None = None) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=answer)} if answer else {"type": "object"}
    ok = {"description": "The answer.", "content": {"application/json": {"schema": schema}}}
    return {"summary": summary, "responses": {"200": ok, **{code: _error(code) for code in ("401", "500")}}}


def _one_model() -> dict[str, Any]:
    operation = _get("One model; its name may hold a slash.")
    operation["parameters"] = [_NAME]
    operation["responses"]["404"] = _error("404")
    return operation


def _act(summary: str) -> dict[str, Any]:
    operation = _get(summary, answer="ModelState")
    operation["parameters"] = [_NAME]
    operation["responses"] |= {code: _error(code) for code in _ACT_ERRORS}
    return operation


def _probe(summary: str) -> dict[str, Any]:
    text = {"description": "The answer.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": text, "503": _error("503")}}


def _error(code: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    return {"description": _ERRORS[code], "content": content}


def _components(body: type[BaseModel]) -> dict[str, Any]:
    """A body's schema and those that it refers to, by name."""
    schema = body.model_json_schema(ref_template=_REF)
    parts = schema.pop("$defs", {})
    return {name: _openapi_3_0(part) for name, part in ({body.__name__: schema} | parts).items()}


def _openapi_3_0(schema: dict[str, Any]) -> dict[str, Any]:
    """Pydantic writes `anyOf [X, null]`; OpenAPI 3.0 says `nullable`."""
    for name, field in schema.get("properties", {}).items():
        options = field.get("anyOf", [])
        if {"type": "null"} in options:
            values = [option for option in options if option != {"type": "null"}]
            rest = {key: part for key, part in field.items() if key not in ("anyOf", "default")}
            value = values[0] if len(values) == 1 else {"anyOf": values}
            if "$ref" in value:
                value = {"allOf": [value]}
            schema["properties"][name] = {**rest, **value, "nullable": True}
    return schema


def _limit(field: dict[str, Any], limit: int) -> None:
    """Say how many items a list may have, in whichever of the field's forms is a list of inputs."""
    for form in (field, *field.get("anyOf", [])):
        if form.get("type") == "array" and form["items"].get("type") != "integer":
            form["maxItems"] = limit
