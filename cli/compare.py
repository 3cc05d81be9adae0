"""embeddings compare: measure models on the user's queries and passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from cli.output import console, fail, say
from cli.problems import by_name, refusing
from comparison.compare import Files, MeasureError, Row, compare, measure_in_child, require_stored
from comparison.data import DataError, read_data
from comparison.report import chart, table
from errors import ModelUnavailableError
from models.store import ModelStore, open_catalog
from settings import bentoml_home, load_settings
from startup import check_home


def compare_models(
    names: Sequence[str], queries: Path, passages: Path, candidates: int, svg: Path | None, *, as_json: bool
) -> int:
    """Exit status: 0 done; 1 a model could not be imported or measured; 2 invalid command or files."""
    with refusing(DataError, as_json=as_json):
        settings = load_settings()
        catalog = open_catalog(settings, ModelStore())
        specs = list({spec.name: spec for spec in by_name(catalog.get, names)}.values())
        check_home(bentoml_home(), imports=False)
        data = read_data(queries, passages)
    rerankers = [spec.name for spec in specs if spec.kind == "reranker"]
    if rerankers and len(rerankers) == len(specs) and len(data.passages) > candidates:
        return fail(
            f"{rerankers[0]} sorts the best {candidates} of {len(data.passages)} passages. Name an embedding model "
            "that finds them, too.",
            as_json=as_json,
            status=2,
        )
    try:
        for spec in specs:
            require_stored(spec, _importing(spec.name))
        files = Files(queries.resolve(), passages.resolve())
        report = _report(as_json=as_json)
        measured = compare(specs, data, files, candidates=candidates, measure=measure_in_child, report=report)
    except (ModelUnavailableError, MeasureError) as error:
        return fail(error, as_json=as_json, status=1)
    if not as_json:
        console().print(table(measured), end="")
    if svg:
        svg.write_text(chart(measured), encoding="utf-8")
    return 0


def _importing(name: str) -> Callable[[float], None]:
    """Says once that a model is imported, which may take minutes."""
    said: list[str] = []

    def report(_done: float) -> None:
        if not said:
            said.append(name)
            console(stderr=True).print(f"{name}: importing")

    return report


def _report(*, as_json: bool) -> Callable[[Row], None]:
    def report(row: Row) -> None:
        if as_json:
            say("", asdict(row), as_json=True)
        else:
            console(stderr=True).print(f"{row.model}: done")

    return report
