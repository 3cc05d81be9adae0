"""The OpenAPI document, built from the table of routes and the types of request bodies and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from api.endpoint import Endpoint
from api.error_body import Error, OllamaError, error_type
from api.playground import PATH as PLAYGROUND
from api.responses import Answer
from settings import Settings

OpenAPI = dict[str, Any]
Schema = dict[str, Any]

_REF = "#/components/schemas/{model}"
_MODE: JsonSchemaMode = "validation"
_DESCRIPTION = "OpenAI-compatible embeddings and Cohere/Jina-style reranking over Hugging Face models."
_PLAYGROUND = f" [Try it out in the playground](.{PLAYGROUND})."
_ERRORS = {
    400: "The request is invalid; `param` names the field.",
    401: "The API key is missing or incorrect.",
    403: "The settings do not allow it.",
    404: "No such route, model, file or batch.",
    405: "The route exists for another method.",
    408: "The body did not arrive in time.",
    409: "The model is in use or is being loaded.",
    413: "The body, or the response, is too large.",
    429: "The queue is full; `Retry-After` says when to retry.",
    500: "Internal error; see the service log.",
    502: "A provider to which the request was forwarded failed.",
    503: "The model cannot be served now; the message says why.",
    504: "No response before the deadline.",
    507: "The disk of the service is full.",
}


def build_document(endpoints: Iterable[Endpoint], settings: Settings) -> OpenAPI:
    """The document of a service with these settings, with the limits in force."""
    documented = [endpoint for endpoint in endpoints if endpoint.is_documented(settings)]
    schemas = _Schemas(documented, settings)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in documented:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    document: OpenAPI = {
        "openapi": "3.0.3",
        "info": {
            "title": "Rerank & Embedding API",
            "version": "1",
            "description": _DESCRIPTION + (_PLAYGROUND if settings.playground else ""),
        },
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {"schemas": schemas.components},
    }
    if settings.keys:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            "azure": {"type": "apiKey", "in": "header", "name": "api-key"},
        }
        document["security"] = [{name: []} for name in document["components"]["securitySchemes"]]
    return document


class _Schemas:
    """The schemas of all request bodies and answers."""

    def __init__(self, endpoints: Iterable[Endpoint], settings: Settings) -> None:
        types = dict.fromkeys([Error, OllamaError, *(each for endpoint in endpoints for each in _types(endpoint))])
        adapters = [(each, _MODE, TypeAdapter(each)) for each in types]
        self._schemas, definitions = TypeAdapter.json_schemas(adapters, ref_template=_REF)
        self.components: dict[str, Schema] = _openapi_3_0(definitions["$defs"])
        for name, list_field, limit in (
            ("EmbeddingRequest", "input", settings.max_inputs),
            ("RerankRequest", "documents", settings.max_documents),
        ):
            if name in self.components:
                _limit(self.components[name]["properties"][list_field], limit)

    def any_of(self, types: Iterable[Any]) -> Schema:
        """The schema of a value of one of the types."""
        found = [self._schemas[each, _MODE] for each in types]
        return found[0] if len(found) == 1 else {"anyOf": found}


def _types(endpoint: Endpoint) -> list[Any]:
    return [*(form.body for form in endpoint.forms), *_answers(endpoint)]


def _answers(endpoint: Endpoint) -> list[Any]:
    """The types T of the handlers that return Answer[T]."""
    handlers: list[Any] = [form.handle for form in endpoint.forms] or [endpoint.handle]
    returned = [get_type_hints(handler, include_extras=True)["return"] for handler in handlers]
    return list(dict.fromkeys(get_args(each)[0] for each in returned if get_origin(each) is Answer))


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    answers = _answers(endpoint)
    content = _json(schemas.any_of(answers)) if answers else {"text/plain": {"schema": {"type": "string"}}}
    errors = _json(schemas.any_of([error_type(endpoint.path)]))
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "responses": {
            "200": {"description": "The response.", "content": content},
            **{str(code): {"description": _ERRORS[code], "content": errors} for code in endpoint.errors},
        },
    }
    if endpoint.forms:
        examples = {form.body.__name__: {"value": form.example} for form in endpoint.forms}
        body = _json(schemas.any_of(form.body for form in endpoint.forms))
        body["application/json"]["examples"] = examples
        operation["requestBody"] = {"required": True, "content": body}
    if endpoint.upload is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": endpoint.upload}},
        }
    if names := re.findall(r"{(\w+)}", endpoint.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    return operation


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _openapi_3_0(schema: Any) -> Any:
    """OpenAPI 3.0 has `nullable` instead of the type null, and no `const`."""
    if isinstance(schema, list):
        return [_openapi_3_0(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _openapi_3_0(each) for name, each in schema.items()}
    if isinstance(schema.get("const"), str):
        schema["enum"] = [schema.pop("const")]
    options = schema.get("anyOf", [])
    if {"type": "null"} not in options:
        return schema
    rest = {name: each for name, each in schema.items() if name not in ("anyOf", "default")}
    values = [option for option in options if option != {"type": "null"}]
    value = values[0] if len(values) == 1 else {"anyOf": values}
    return {**rest, **({"allOf": [value]} if "$ref" in value else value), "nullable": True}


def _limit(schema: Schema, limit: int) -> None:
    """Set the maximum number of items of each form of a field that is a list of inputs."""
    for form in (schema, *schema.get("anyOf", [])):
        if form.get("type") == "array" and form["items"].get("type") != "integer":
            form["maxItems"] = limit
