"""A result as an SVG: bars whose length is the speed of each server. Readable on light and dark pages."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from benchmarks.report import Line, figure, lines
from benchmarks.servers import IN_PROCESS, INT8, OURS, VLLM

WIDTH, LABEL, VALUE = 860, 330, 150
BAR, GAP, ROW_GAP, TOP = 14, 3, 16, 64
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.small { font-size: 11px; fill: #59636e }
.strong { font-weight: 600 }
.ours { fill: #0969da } .infinity { fill: #bf8700 } .vllm { fill: #8250df }
.int8 { fill: #1a7f37 } .process { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 }
  .ours { fill: #4493f8 } .infinity { fill: #d29922 } .vllm { fill: #ab7df8 }
  .int8 { fill: #3fb950 } .process { fill: #4b535d }
}
"""
SHOWN = (OURS, INT8, "infinity", VLLM, IN_PROCESS)
NAMES = {name: name for name in SHOWN} | {"infinity": "infinity at its best", VLLM: "vLLM"}


def bars(line: Line) -> list[tuple[str, float, float]]:
    """(server, value, length from 0 to 1) of one row; the fastest is 1."""
    names = {name: name for name in SHOWN} | {"infinity": line.best("infinity") or ""}
    values = {shown: line.values[names[shown]] for shown in SHOWN if names[shown] in line.values}
    positive = [value for value in values.values() if value > 0]
    if not positive:
        return []
    if line.metric.higher_is_better:
        return [(shown, value, value / max(positive)) for shown, value in values.items()]
    return [(shown, value, min(positive) / value if value else 1.0) for shown, value in values.items()]


def picture(result: dict[str, Any]) -> str:
    """The SVG's text."""
    drawn = [(line, bars(line)) for line in lines(result) if not line.metric.relative]
    drawn = [(line, found) for line, found in drawn if found]
    height = TOP + sum(len(found) * (BAR + GAP) + ROW_GAP for _, found in drawn) + 24
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height}",
            "width": str(WIDTH),
            "height": str(height),
            "role": "img",
        },
    )
    facts = result["machine"]
    ET.SubElement(svg, "title").text = "Benchmark: longer bars are faster"
    ET.SubElement(svg, "style").text = STYLE
    _text(svg, 0, 18, "Longer is better; each row has its own scale", "title")
    _legend(svg, {shown for _, found in drawn for shown, *_ in found})
    y = TOP
    for line, found in drawn:
        y = _row(svg, y, line, found)
    _text(svg, 0, height - 6, f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, medians", "small")
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _legend(svg: ET.Element, present: set[str]) -> None:
    x = 0
    for shown in SHOWN:
        if shown in present:
            _bar(svg, x, 32, 12, shown)
            _text(svg, x + 17, 43, NAMES[shown], "small")
            x += 30 + 7 * len(NAMES[shown])


def _row(svg: ET.Element, y: int, line: Line, found: list[tuple[str, float, float]]) -> int:
    _text(svg, 0, y + BAR - 2, line.metric.title)
    gain = line.against_peer()
    if gain is not None:
        _text(svg, 0, y + BAR + GAP + BAR - 3, f"{gain:.1f} times the best peer", "small")
    for shown, value, length in found:
        width = max(1.0, length * (WIDTH - LABEL - VALUE))
        _bar(svg, LABEL, y, width, shown)
        style = "strong" if shown == OURS else None
        _text(svg, LABEL + width + 6, y + BAR - 3, figure(value, line.metric.unit), style)
        y += BAR + GAP
    return y + ROW_GAP


def _bar(svg: ET.Element, x: float, y: float, width: float, name: str) -> None:
    place = {
        "x": f"{x:g}",
        "y": f"{y:g}",
        "width": f"{width:.1f}",
        "height": str(BAR),
        "rx": "2",
        "class": name.split()[-1],
    }
    ET.SubElement(svg, "rect", place)


def _text(svg: ET.Element, x: float, y: float, words: str, style: str | None = None) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:g}"} | ({"class": style} if style else {})
    ET.SubElement(svg, "text", place).text = words
