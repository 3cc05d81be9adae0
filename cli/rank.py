"""embeddings rank: texts by their relevance to a query."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.text import Text

from cli.output import console, fail, note
from cli.requests import Server, texts_or_lines
from corpus.problems import CorpusError


def rank(
    query: str,
    documents: Sequence[str],
    file: Path | None,
    top: int,
    model: str | None,
    server: Server,
    *,
    as_json: bool,
) -> int:
    """Print place, score and text of each document, best first. Exit status: 0 done, 1 refused or not available."""
    texts = texts_or_lines(documents, file)
    body = {"query": query, "documents": texts, "top_n": top or None, "return_documents": True}
    try:
        content = server.post("/v1/rerank", body | ({"model": model} if model else {}), as_json=as_json)
    except CorpusError as error:
        return fail(error, as_json=as_json, status=error.status)
    if as_json:
        sys.stdout.write(content.decode() + "\n")
        return 0
    out = console()
    response = orjson.loads(content)
    for place, result in enumerate(response["results"], start=1):
        score = f"{result['relevance_score']:.4f}"
        out.print(Text.assemble((f"{place:3}  ", "dim"), (score, "bold green"), "  ", texts[result["index"]]))
    for warning in response.get("warnings", []):
        note(warning)
    return 0
