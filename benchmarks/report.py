"""A result as a Markdown table: medians, ratios and facts about the measurement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import METRICS, Metric
from benchmarks.servers import HARDWARE, IN_PROCESS, INT8, OURS, VLLM
from benchmarks.statistics import median

NO_PEERS = (OURS, INT8, IN_PROCESS, HARDWARE)


@dataclass(frozen=True)
class Line:
    """One metric with the medians of all servers."""

    metric: Metric
    values: dict[str, float]

    def best(self, prefix: str = "") -> str | None:
        """The best peer in this row, of those whose name has this prefix."""
        peers = [name for name in self.values if name not in NO_PEERS and name.startswith(prefix)]
        pick = max if self.metric.higher_is_better else min
        return pick(peers, key=self.values.__getitem__) if peers else None

    def speed(self, name: str, against: str) -> float | None:
        """How many times better `name` is than `against`; None if one of them has no figure."""
        if name not in self.values or against not in self.values:
            return None
        ours, theirs = self.values[name], self.values[against]
        if not self.metric.higher_is_better:
            ours, theirs = theirs, ours
        return ours / theirs if theirs else None

    def against_peer(self) -> float | None:
        """Our service compared with the best peer."""
        best = self.best()
        return self.speed(OURS, best) if best else None

    def below_target(self) -> bool:
        """Whether our service misses the row's target against a measured peer."""
        found = self.against_peer()
        return found is not None and self.metric.target is not None and found < self.metric.target


def lines(result: dict[str, Any]) -> list[Line]:
    """The metrics with a figure of at least one server."""
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
    """Columns: peers with figures and always vLLM, then those without a server, then ours."""
    measured = [name for name, rows in result["samples"].items() if rows]
    peers = [name for name in measured if name not in (VLLM, *NO_PEERS)]
    return [*peers, VLLM, *(name for name in (IN_PROCESS, HARDWARE, INT8, OURS) if name in measured)]


def figure(value: float | None, unit: str) -> str:
    """A value with a suitable number of digits."""
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
    titles = ["work", *names, "best peer", "ours / best peer", "ours / OpenVINO in process", "share of hardware limit"]
    yield _cells(titles)
    yield "|" + " --- |" + " ---: |" * (len(titles) - 1)
    for line in lines(result):
        cells = [figure(line.values.get(name), line.metric.unit) for name in names]
        against = ["", ""] if line.metric.relative else [line.best() or "", ratio(line.against_peer())]
        limits = [ratio(line.speed(OURS, IN_PROCESS)), percent(line.speed(OURS, HARDWARE))]
        yield _cells([line.metric.title, *cells, *against, *limits])


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
        cosine = f"smallest cosine {check['min_cosine']}"
        if "model" in check:
            yield f"- {check['server']} against {check['against']}, {check['model']}: {verdict} ({cosine})."
            continue
        yield (
            f"- {check['server']} against {check['against']}: {verdict} ({cosine}, "
            f"largest difference of a score {check['max_score_difference']} of a spread of {check['score_spread']})."
        )
    yield from _three_outputs(result)
    yield from _noise(result)
    yield from _verdict(result)


def _three_outputs(result: dict[str, Any]) -> Iterator[str]:
    """The processor time of bge-m3's three outputs, over that of its dense vectors."""
    of = {line.metric.key: line.values.get(OURS) for line in lines(result)}
    for count in (8, 128):
        dense, every = (of.get(f"m3_{wanted}_{count}.cpu_ms") for wanted in ("dense", "all"))
        if dense and every:
            cost = ratio(every / dense)
            yield f"- All three outputs of {count} passages take {cost} the processor time of dense vectors alone."


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
    measured = [line for line in lines(result) if line.metric.target and line.against_peer()]
    missed = [
        f"{line.metric.title} ({ratio(line.against_peer())} of {ratio(line.metric.target)})"
        for line in measured
        if line.below_target()
    ]
    if measured:
        yield f"- Below the target against the best peer: {'; '.join(missed) or 'no row'}."
    yield "- GPU figures are not measured here." if result["options"]["device"] == "cpu" else "- A GPU run."
