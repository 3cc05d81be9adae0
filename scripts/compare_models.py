"""Compare models on your own queries and passages: quality, speed and memory on this machine."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from comparison.compare import Files, MeasureError, Row, compare, measure_in_child, require_stored
from comparison.data import DataError, read_data
from comparison.report import chart, table
from errors import ModelNotFoundError, ModelUnavailableError
from models.catalog import CatalogError
from models.store import ModelStore, open_catalog
from settings import SettingsError, bentoml_home, load_settings
from startup import StartError, check_home

EXAMPLES = """examples:
  scripts/compare_models --queries queries.jsonl --passages passages.jsonl --model bge-m3 multilingual-e5-small
  scripts/compare_models --queries queries.jsonl --passages passages.jsonl --model bge-m3 bge-reranker-v2-m3 \\
    --candidates 50 --chart comparison.svg

exit status: 0 done; 1 a model could not be imported or measured; 2 invalid command or files.
"""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: see EXAMPLES."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        settings = load_settings()
        catalog = open_catalog(settings, ModelStore())
        specs = list({spec.name: spec for spec in map(catalog.get, options.model)}.values())
        check_home(bentoml_home(), imports=False)
        data = read_data(options.queries, options.passages)
    except (SettingsError, CatalogError, ModelNotFoundError, StartError, DataError) as error:
        return _fail(error, 2)
    rerankers = [spec.name for spec in specs if spec.kind == "reranker"]
    if rerankers and len(rerankers) == len(specs) and len(data.passages) > options.candidates:
        return _fail(
            f"{rerankers[0]} sorts the best {options.candidates} of {len(data.passages)} passages. Name an embedding "
            "model that finds them, too.",
            2,
        )
    try:
        for spec in specs:
            require_stored(spec, _importing(spec.name))
        files = Files(options.queries.resolve(), options.passages.resolve())
        measured: list[Row] = compare(
            specs,
            data,
            files,
            candidates=options.candidates,
            measure=measure_in_child,
            report=_report(as_json=options.json),
        )
    except (ModelUnavailableError, MeasureError) as error:
        return _fail(error, 1)
    if not options.json:
        sys.stdout.write(table(measured))
    if options.chart:
        options.chart.write_text(chart(measured), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/compare_models",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--queries", type=Path, required=True, metavar="FILE", help="JSONL with id, text and, for quality, relevant")
    add("--passages", type=Path, required=True, metavar="FILE", help="JSONL with id and text")
    add("--model", nargs="+", required=True, metavar="NAME", help="short or full names of the models")
    add("--candidates", type=_positive, default=100, metavar="N", help="passages that rerankers sort (default: 100)")
    add("--chart", type=Path, metavar="FILE", help="also write the results as an SVG")
    add("--json", action="store_true", help="print one JSON object per model instead of a table")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _importing(name: str) -> Callable[[float], None]:
    """Says once that a model is imported, which may take minutes."""
    said: list[str] = []

    def report(_done: float) -> None:
        if not said:
            said.append(name)
            sys.stderr.write(f"{name}: importing\n")

    return report


def _report(*, as_json: bool) -> Callable[[Row], None]:
    def report(row: Row) -> None:
        if as_json:
            sys.stdout.write(json.dumps(asdict(row), separators=(",", ":")) + "\n")
        else:
            sys.stderr.write(f"{row.model}: done\n")

    return report


def _fail(problem: object, status: int) -> int:
    sys.stderr.write(f"{problem}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
