"""Nothing is declared for nobody: every option, key and field is read somewhere in the source."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest
from pydantic import BaseModel

from api.routes import ENDPOINTS
from models.catalog import AnswerScoring, ModelSpec, Tokenizer
from models.facts import ModelFacts
from settings import Settings
from tests.unit.sources import parse_file, source_files

BODIES = {form.body for endpoint in ENDPOINTS for form in endpoint.forms}
DECLARATIONS: list[tuple[type[BaseModel], str]] = [
    (Settings, "settings.py"),
    (ModelSpec, "models/catalog.py"),
    (Tokenizer, "models/catalog.py"),
    (AnswerScoring, "models/catalog.py"),
    (ModelFacts, "models/facts.py"),
    *sorted(((body, f"{body.__module__.replace('.', '/')}.py") for body in BODIES), key=str),
]
OWNERS: dict[type[BaseModel], set[str]] = {
    Settings: {"settings", "_settings", "_limits", "limits", "self"},
    ModelSpec: {"spec", "self"},
    Tokenizer: {"tokenizer"},
    AnswerScoring: {"scoring"},
    ModelFacts: {"facts"},
    **{body: {"request", "self"} for body in BODIES},
}
"""What variables of these types are called; `self` counts in the file of the class, whose methods others call."""

KNOWINGLY_UNREAD = {
    ("EmbeddingRequest", "user"): "accepted for OpenAI's clients, and documented as not used",
    ("OllamaEmbedRequest", "keep_alive"): "accepted for Ollama's clients, and documented as not used",
    ("OllamaEmbeddingsRequest", "keep_alive"): "accepted for Ollama's clients, and documented as not used",
    ("OllamaShowRequest", "verbose"): "accepted for Ollama's clients, and documented as not used",
}


def reads() -> dict[str, set[tuple[str, str]]]:
    """Attribute name -> (last name of its owner, file): `settings.port` in service.py is port, settings, service.py."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in source_files():
        for node in ast.walk(parse_file(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                found[node.attr].add((name, str(path)))
    return found


READS = reads()
FIELDS = [(model, field, file) for model, file in DECLARATIONS for field in model.model_fields]


@pytest.mark.parametrize(("model", "field", "file"), FIELDS, ids=[f"{m.__name__}.{f}" for m, f, _ in FIELDS])
def test_every_field_has_a_reader(model: type[BaseModel], field: str, file: str) -> None:
    if (model.__name__, field) in KNOWINGLY_UNREAD:
        pytest.skip(KNOWINGLY_UNREAD[model.__name__, field])
    homes = {file, *(f"{base.__module__.replace('.', '/')}.py" for base in model.__mro__)}
    readers = {where for owner, where in READS[field] if owner in OWNERS[model] and (owner != "self" or where in homes)}
    assert readers, f"nobody reads {model.__name__}.{field}: give it a reader or delete it"


@pytest.mark.parametrize(("model", "field"), KNOWINGLY_UNREAD, ids=".".join)
def test_exceptions_are_still_needed_and_say_so(model: str, field: str) -> None:
    (owner,) = [known for known, _ in DECLARATIONS if known.__name__ == model]
    assert "not used" in (owner.model_fields[field].description or "")
    assert not [where for name, where in READS[field] if name in OWNERS[owner]]
