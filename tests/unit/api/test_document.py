"""The OpenAPI document: every route and field is described, every example is a request that is accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from api.endpoint import Endpoint
from api.openapi import build_document
from api.routes import ENDPOINTS
from settings import load_settings

DOCUMENT = build_document(ENDPOINTS, load_settings({"API_KEYS": "k", "BATCH_DIR": "batches"}))


def fields(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every property below a schema, with its place."""
    if isinstance(schema, list):
        for part in schema:
            yield from fields(part, place)
    if not isinstance(schema, dict):
        return
    for name, value in schema.get("properties", {}).items():
        yield f"{place}.{name}", value
        yield from fields(value, f"{place}.{name}")
    for key in ("items", "anyOf", "oneOf", "allOf"):
        yield from fields(schema.get(key), place)


def test_every_field_is_described() -> None:
    found = [each for name, schema in DOCUMENT["components"]["schemas"].items() for each in fields(schema, name)]
    assert len(found) > 100
    described = {"$ref"} | {"description"}  # a component has its own description
    assert [place for place, schema in found if described.isdisjoint(schema)] == []
    assert [name for name, schema in DOCUMENT["components"]["schemas"].items() if not schema.get("description")] == []


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.forms], ids=lambda endpoint: endpoint.path)
def test_every_route_has_an_example_that_is_accepted(endpoint: Endpoint) -> None:
    content = DOCUMENT["paths"][endpoint.path]["post"]["requestBody"]["content"]["application/json"]
    assert content["examples"].keys() == {form.body.__name__ for form in endpoint.forms}
    for form in endpoint.forms:
        example = content["examples"][form.body.__name__]["value"]
        assert next(other for other in endpoint.forms if other.fits(example)) is form
        form.body.model_validate(example)


def test_every_operation_has_a_summary_and_answers() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"].endswith("."), path
            assert "200" in operation["responses"], (path, method)


def test_references_lead_somewhere() -> None:
    names = set(re.findall(r"#/components/schemas/([^\"]+)", json.dumps(DOCUMENT)))
    assert names
    assert names <= DOCUMENT["components"]["schemas"].keys()


def test_keys_are_part_of_it_only_where_there_are_some() -> None:
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer", "header", "azure"}
    assert "security" not in build_document(ENDPOINTS, load_settings({}))
