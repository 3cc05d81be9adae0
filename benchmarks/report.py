"""A kept result as a table in Markdown: medians, ratios and the facts that they depend on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import METRICS, Metric
from benchmarks.servers import LIMIT
from benchmarks.statistics import median

OURS, PEER = "ours", "infinity"
TARGET_PEER, TARGET_LIMIT = 2.0, 0.85
"""What the project wants: twice infinity at its best; 85 % of the limit on rows with more than one text."""


@dataclass(frozen=True)
class Line:
    """One metric with everybody's median."""

    metric: Metric
    values: dict[str, float]

    def best_peer(self) -> str | None:
        """The variant of infinity that does this row best."""
        variants = [name for name in self.values if name.startswith(PEER)]
        pick = max if self.metric.higher_is_better else min
        return pick(variants, key=self.values.__getitem__) if variants else None

    def speed(self, name: str, against: str) -> float | None:
        """How many times better `name` is than `against`; None where one of them has no figure."""
        if name not in self.values or against not in self.values:
            return None
        ours, theirs = self.values[name], self.values[against]
        if not self.metric.higher_is_better:
            ours, theirs = theirs, ours
        return ours / theirs if theirs else None

    def against_peer(self) -> float | None:
        """Ours against infinity at its best."""
        best = self.best_peer()
        return self.speed(OURS, best) if best else None

    def against_limit(self) -> float | None:
        """Ours as a share of the in-process limit."""
        return self.speed(OURS, LIMIT) if self.metric.has_limit else None


def lines(result: dict[str, Any]) -> list[Line]:
    """The metrics that at least one server has a figure for."""
    found = []
    for metric in METRICS:
        values = {
            name: median(sample[metric.figure] for sample in rows[metric.row])
            for name, rows in result["samples"].items()
            if rows.get(metric.row)
        }
        if values:
            found.append(Line(metric, values))
    return found


def columns(result: dict[str, Any]) -> list[str]:
    """The servers with figures, ours last."""
    names = [name for name, rows in result["samples"].items() if rows]
    return [name for name in names if name != OURS] + [name for name in names if name == OURS]


def figure(value: float | None, unit: str) -> str:
    """A value with as many digits as it deserves."""
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def ratio(value: float | None) -> str:
    """2.3x."""
    return "" if value is None else f"{value:.2f}x"


def percent(value: float | None) -> str:
    """87 %."""
    return "" if value is None else f"{100 * value:.0f} %"


def table(result: dict[str, Any]) -> str:
    """The whole report."""
    return "\n".join([*_head(result), "", *_table(result), "", *_notes(result), ""])


def _table(result: dict[str, Any]) -> Iterator[str]:
    names = columns(result)
    titles = ["work", *names, "ours / best infinity", "ours / limit"]
    yield _cells(titles)
    yield "|" + " --- |" + " ---: |" * (len(titles) - 1)
    for line in lines(result):
        cells = [figure(line.values.get(name), line.metric.unit) for name in names]
        against = "" if line.metric.relative else ratio(line.against_peer())
        yield _cells([line.metric.title, *cells, against, percent(line.against_limit())])


def _cells(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _head(result: dict[str, Any]) -> Iterator[str]:
    facts, options = result["machine"], result["options"]
    flags = ", ".join(facts["flags"]) or "none of note"
    native = "computes bfloat16 itself" if facts["native_bfloat16"] else "does not compute bfloat16 itself"
    yield f"Measured {facts['date']} on {facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB."
    yield f"The processor {native} ({flags}). GPU: {facts['gpu'] or 'none'}; device: {options['device']}."
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield f"Python {facts['python']}, {versions}."
    yield (
        f"Each figure is the median of {options['repetitions']} measurements of {options['window_s']:g} s "
        f"({options['mixed_window_s']:g} s beside bulk work), taken in turns. Ratios above 1 mean that ours is better."
    )


def _notes(result: dict[str, Any]) -> Iterator[str]:
    for name, server in result["servers"].items():
        yield f"- {name}: {server['version']}; {server['settings']}."
    for name, reason in result["absent"].items():
        yield f"- {name} has no figures: {reason}"
    for error in result["errors"]:
        yield f"- FAILED {error}"
    for check in result["checks"]:
        verdict = "the same answers" if check["right"] else "WRONG ANSWERS: its figures do not count"
        yield (
            f"- {check['server']} against {check['against']}: {verdict} (smallest cosine {check['min_cosine']}, "
            f"largest difference of a score {check['max_score_difference']} of a spread of {check['score_spread']})."
        )
    yield from _noise(result)
    yield from _verdict(result)


def _noise(result: dict[str, Any]) -> Iterator[str]:
    samples = [sample for rows in result["samples"].values() for found in rows.values() for sample in found]
    foreign = [sample["foreign_cores"] for sample in samples if "foreign_cores" in sample]
    generator = [sample["generator_cores"] for sample in samples if "generator_cores" in sample]
    if cost := result["generator"]:
        yield (
            f"- The load generator sends {cost['requests_per_s_1']:g}/s over 1 connection and "
            f"{cost['requests_per_s_16']:g}/s over 16 to a server that does nothing "
            f"({cost['cpu_us_1']:g} and {cost['cpu_us_16']:g} us of processor time a request)."
        )
    if foreign:
        yield (
            f"- In the median measurement it took {median(generator):.2f} of {result['machine']['cores']} cores "
            f"(at most {max(generator):.2f}), and work that is no part of the benchmark {median(foreign):.2f} "
            f"(at most {max(foreign):.2f}): near 0, or the figures are noisy."
        )


def _verdict(result: dict[str, Any]) -> Iterator[str]:
    measured = [line for line in lines(result) if not line.metric.relative]
    slow = [line.metric.title for line in measured if (line.against_peer() or TARGET_PEER) < TARGET_PEER]
    far = [
        line.metric.title
        for line in measured
        if line.metric.many_texts and (line.against_limit() or TARGET_LIMIT) < TARGET_LIMIT
    ]
    if any(line.against_peer() for line in measured):
        yield f"- Below twice infinity at its best: {'; '.join(slow) or 'no row'}."
    if any(line.against_limit() for line in measured):
        yield f"- More than one text and below 85 % of the limit: {'; '.join(far) or 'no row'}."
    yield "- GPU figures are not measured here." if result["options"]["device"] == "cpu" else "- A GPU run."
