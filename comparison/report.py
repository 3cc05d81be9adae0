"""The results as a table and as a chart."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence

from comparison.compare import Row

Shown = tuple[str, Callable[[Row], float | None], Callable[[float], str]]

_QUALITY: tuple[Shown, ...] = (
    ("nDCG@10", lambda row: row.ndcg_at_10, lambda value: f"{value:.3f}"),
    ("MRR@10", lambda row: row.mrr_at_10, lambda value: f"{value:.3f}"),
    ("Recall@10", lambda row: row.recall_at_10, lambda value: f"{value:.3f}"),
    ("Recall@100", lambda row: row.recall_at_100, lambda value: f"{value:.3f}"),
)
_OVERLAP: Shown = ("Overlap@10", lambda row: row.overlap_at_10, lambda value: f"{value:.3f}")
_COST: tuple[Shown, ...] = (
    ("Texts/s", lambda row: row.texts_per_s, lambda value: f"{value:,.1f}" if value < 100 else f"{value:,.0f}"),
    ("Tokens/s", lambda row: row.tokens_per_s, lambda value: f"{value:,.0f}"),
    ("Memory", lambda row: row.memory_bytes, lambda value: f"{value / 1e9:.2f} GB"),
)

WIDTH, LABEL, VALUE = 860, 300, 90
BAR, GAP, TOP = 16, 8, 34
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.embedding { fill: #0969da } .reranker { fill: #8250df }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .embedding { fill: #4493f8 } .reranker { fill: #ab7df8 }
}
"""


def columns(rows: Sequence[Row]) -> list[Shown]:
    """The measures that the rows have."""
    quality = list(_QUALITY) if any(row.ndcg_at_10 is not None for row in rows) else [_OVERLAP]
    return [*quality, *_COST]


def table(rows: Sequence[Row]) -> str:
    """A Markdown table, aligned for terminals."""
    shown = columns(rows)
    lines = [["Model", "Kind", *(title for title, _, _ in shown), "Engine"]]
    for row in rows:
        values = [(value(row), text) for _, value, text in shown]
        cells = [text(value) if value is not None else "–" for value, text in values]
        lines.append([row.model, row.kind, *cells, row.backend])
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(map(str.ljust, line, widths))} |\n" for line in lines)


def chart(rows: Sequence[Row]) -> str:
    """An SVG with a group of bars for quality, speed and memory; readable on light and dark pages."""
    quality, *_ = columns(rows)
    groups = [quality, _COST[0], _COST[2]]
    height = len(groups) * (TOP + len(rows) * (BAR + GAP)) + GAP
    svg = ET.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {height}", "width": str(WIDTH), "role": "img"},
    )
    ET.SubElement(svg, "title").text = "Comparison of models"
    ET.SubElement(svg, "style").text = STYLE
    y = 0
    for title, value, text in groups:
        _text(svg, 0, y + 20, title, "title")
        y += TOP
        known = {row.model: number for row in rows if (number := value(row)) is not None}
        largest = 1.0 if title == quality[0] else max(known.values(), default=1.0)
        for row in rows:
            if row.model in known:
                length = max(1.0, known[row.model] / largest * (WIDTH - LABEL - VALUE))
                place = {"x": str(LABEL), "y": str(y), "width": f"{length:.1f}", "height": str(BAR), "rx": "2"}
                ET.SubElement(svg, "rect", place | {"class": row.kind})
                _text(svg, LABEL + length + 6, y + BAR - 3, text(known[row.model]))
            _text(svg, 0, y + BAR - 3, row.model)
            y += BAR + GAP
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _text(svg: ET.Element, x: float, y: float, words: str, style: str = "") -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:g}"} | ({"class": style} if style else {})
    ET.SubElement(svg, "text", place).text = words
