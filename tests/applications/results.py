"""The last result of each application, and the table of docs/applications.md that shows them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.generate.__main__ import render, translated
from tests.applications.table import APPLICATIONS
from tests.serving import ROOT

RESULTS = Path(__file__).parent / "results.json"
PAGE = "docs/applications.md"
_HEADS = {
    PAGE: ("Application", "Version", "Calls", "Compared", "Result", "Date"),
    translated(PAGE): ("アプリケーション", "バージョン", "呼び出し", "比較", "結果", "日付"),
}
_JAPANESE = {"order": "順序", "vectors": "ベクトル", "scores": "スコア", "passed": "合格", "failed": "失敗"}


@dataclass(frozen=True)
class Result:
    """`calls`: route -> number of requests. `problem` is empty if the application passed."""

    application: str
    version: str
    calls: dict[str, int]
    compared: list[str]
    outside: list[str]
    problem: str
    date: str


def load() -> list[Result]:
    """The results, in the order of the table of applications."""
    return [Result(**each) for each in json.loads(RESULTS.read_text(encoding="utf-8"))] if RESULTS.exists() else []


def save(new: Result) -> None:
    """Replace the result of one application, and update the pages."""
    by_name = {each.application: each for each in load()} | {new.application: new}
    kept = [by_name[each.name] for each in APPLICATIONS if each.name in by_name]
    text = json.dumps([asdict(each) for each in kept], indent=2, ensure_ascii=False)
    RESULTS.write_text(f"{text}\n", encoding="utf-8")
    for page in _HEADS:
        path = ROOT / page
        part = {"applications": table(page, kept)}
        path.write_text(render(page, path.read_text(encoding="utf-8"), part), encoding="utf-8")


def table(page: str, results: Iterable[Result]) -> str:
    """The results as a table in the language of the page."""
    english = page == PAGE
    heads = _HEADS[page]

    def words(names: Iterable[str]) -> str:
        return (", " if english else "、").join(name if english else _JAPANESE[name] for name in names)

    def row(result: Result) -> tuple[str, ...]:
        calls = ", ".join(f"{number} × `{route}`" for route, number in result.calls.items())
        outcome = words(["failed" if result.problem else "passed"])
        return result.application, result.version, calls, words(result.compared), outcome, result.date

    lines = [heads, ("---",) * len(heads), *map(row, results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
