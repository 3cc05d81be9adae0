"""The playground's Japanese for the service's own sentences: complete for the catalogue, and without dead sentences."""

from __future__ import annotations

import ast
import json
import re

from models.catalog import load_catalog
from tests.unit.sources import ROOT, parse_file, source_files

ENDS = re.compile(r"(?<=[.;:!?]) (?=\S)")
"""As in playground/service_text.js."""


def translations() -> dict[str, str]:
    """English sentence, with holes {}, to the Japanese one."""
    text = (ROOT / "playground/strings/service.js").read_text(encoding="utf-8")
    literal = text.split("export const japanese = ", 1)[1].replace(",\n};", "}")
    return dict(json.loads(literal))


def test_each_sentence_of_a_note_is_translated() -> None:
    patterns = [re.compile(".+?".join(map(re.escape, english.split("{}")))) for english in translations()]
    assert [note for note in notes() if not any(pattern.fullmatch(note) for pattern in patterns)] == []


def test_each_translated_sentence_exists() -> None:
    texts = "\n".join([*notes(), *(text for path in source_files() for text in strings(parse_file(path)))])
    parts = {part.strip(" .;:") for english in translations() for part in english.split("{}")}
    assert [part for part in sorted(parts) if part not in texts] == []


def test_both_have_the_same_holes() -> None:
    for english, japanese in translations().items():
        assert sorted(re.findall(r"\{(\d)\}", japanese)) == [str(n) for n in range(english.count("{}"))], english


def notes() -> list[str]:
    """The sentences of all notes in the catalogue."""
    return sorted({piece for spec in load_catalog() for piece in ENDS.split(spec.note) if piece})


def strings(tree: ast.AST) -> list[str]:
    """All strings in a module, and the constant parts of its f-strings."""
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
