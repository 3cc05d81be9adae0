"""The queries and passages of a comparison, read from JSONL files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """A file cannot be used; the message names the file, the line and the problem."""


@dataclass(frozen=True)
class Text:
    """A query or a passage."""

    id: str
    text: str


@dataclass(frozen=True)
class Data:
    """Everything that is searched and searched for."""

    queries: tuple[Text, ...]
    passages: tuple[Text, ...]
    relevant: dict[str, dict[str, float]]
    """Id of a query -> id of each relevant passage -> its grade, above 0. Queries without labels are missing."""


def read_data(queries: Path, passages: Path) -> Data:
    """Read both files; DataError if they cannot be used."""
    found = Data((), tuple(text for text, _ in _rows(passages)), {})
    known = {passage.id for passage in found.passages}
    asked: list[Text] = []
    for number, (query, row) in enumerate(_rows(queries), start=1):
        asked.append(query)
        if "relevant" not in row:
            continue
        grades = _grades(row["relevant"])
        if grades is None:
            raise DataError(
                f"{queries}, row {number}: 'relevant' must be a list of ids, or an object of ids and grades above 0."
            )
        if missing := sorted(grades.keys() - known):
            raise DataError(f"{queries}, row {number}: no passage has the id {missing[0]!r}.")
        found.relevant[query.id] = grades
    return Data(tuple(asked), found.passages, found.relevant)


def _grades(value: Any) -> dict[str, float] | None:
    """The grades of a query's relevant passages, 1 if there are only ids; None if the value has another form."""
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value), 1)
    if not isinstance(value, dict) or not value:
        return None
    numbers = [grade for grade in value.values() if isinstance(grade, int | float) and grade > 0]
    return {str(key): float(grade) for key, grade in value.items()} if len(numbers) == len(value) else None


def _rows(path: Path) -> Iterator[tuple[Text, dict[str, Any]]]:
    """The rows of a file with their whole objects. Ids are unique; BEIR's `_id` is accepted."""
    seen: set[str] = set()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a text may have other line separators
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not valid JSON ({error}).") from error
        row = row if isinstance(row, dict) else {}
        text, name = row.get("text"), row.get("id", row.get("_id"))
        if not isinstance(text, str) or not text.strip() or not isinstance(name, str | int):
            raise DataError(f"{path}, line {number}: a row needs 'id' and 'text', and its text must not be empty.")
        if str(name) in seen:
            raise DataError(f"{path}, line {number}: two rows have the id {str(name)!r}.")
        seen.add(str(name))
        yield Text(str(name), text), row
    if not seen:
        raise DataError(f"{path} has no rows.")
