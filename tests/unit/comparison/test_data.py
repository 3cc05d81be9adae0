"""Reading queries and passages: labels in both forms, and messages that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comparison.data import DataError, Text, read_data

PASSAGES = [{"_id": "p1", "text": "one"}, {"id": 2, "text": "two"}]


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_labels_are_lists_or_grades_or_missing(tmp_path: Path) -> None:
    queries: list[Any] = [
        {"id": "a", "text": "first", "relevant": ["p1", 2]},
        "",
        {"id": "b", "text": "second", "relevant": {"2": 0.5}},
        {"id": "c", "text": "third"},
    ]
    data = read_data(written(tmp_path / "q", queries), written(tmp_path / "p", PASSAGES))
    assert data.passages == (Text("p1", "one"), Text("2", "two"))
    assert [query.id for query in data.queries] == ["a", "b", "c"]
    assert data.relevant == {"a": {"p1": 1.0, "2": 1.0}, "b": {"2": 0.5}}


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (["{"], "q, line 1: not valid JSON"),
        ([{"id": "a"}], "q, line 1: a row needs 'id' and 'text'"),
        ([{"id": "a", "text": " "}], "text must not be empty"),
        ([{"text": "x"}], "line 1: a row needs 'id'"),
        (["[]"], "line 1: a row needs 'id'"),
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "line 2: two rows have the id 'a'"),
        ([], "q has no rows"),
        ([{"id": "a", "text": "x", "relevant": ["p9"]}], "row 1: no passage has the id 'p9'"),
        ([{"id": "a", "text": "x", "relevant": []}], "'relevant' must be a list"),
        ([{"id": "a", "text": "x", "relevant": {"p1": 0}}], "grades above 0"),
        ([{"id": "a", "text": "x", "relevant": {"p1": "high"}}], "grades above 0"),
        ([{"id": "a", "text": "x", "relevant": "p1"}], "'relevant' must be a list"),
    ],
)
def test_a_problem_is_named_with_its_place(tmp_path: Path, queries: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_data(written(tmp_path / "q", queries), written(tmp_path / "p", PASSAGES))


def test_a_row_ends_with_a_line_break_only(tmp_path: Path) -> None:
    """JSON may contain other line separators as they are."""
    queries = written(tmp_path / "q", ['{"id": 1, "text": "one\u2028two"}'])
    assert read_data(queries, written(tmp_path / "p", PASSAGES)).queries == (Text("1", "one\u2028two"),)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="p cannot be read"):
        read_data(tmp_path / "q", tmp_path / "p")
