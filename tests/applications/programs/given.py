"""What a program is given, and what it reports. Imports only the standard library.

A program runs in its application's environment, in an empty folder: `python -m tests.applications.programs.NAME GIVEN`.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Given:
    """The service and the texts; `folder` is that of the environment."""

    url: str
    key: str
    model: str
    dimensions: int
    query: str
    documents: list[str]
    folder: str


def given() -> Given:
    """The program's argument."""
    return Given(**json.loads(sys.argv[1]))


@dataclass(frozen=True)
class Report:
    """What the application exposes: of the documents, vectors, or None; of the query, (document, score), best first.

    `found` has the documents that the application returns for the query, best first.
    """

    found: list[str]
    vectors: list[list[float]] | None = None
    ranking: list[tuple[str, float]] | None = None


def report(found: Sequence[str], *, vectors: Any = None, ranking: Sequence[tuple[str, float]] | None = None) -> None:
    """Print the report as the last line of the output."""
    rows = None if vectors is None else [[float(number) for number in vector] for vector in vectors]
    pairs = None if ranking is None else [(text, float(score)) for text, score in ranking]
    sys.stdout.write("\n" + json.dumps(asdict(Report(list(found), rows, pairs))) + "\n")
