"""The dashboard and the alert rules ask for metrics and labels that exist, and every metric of ours is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

import metrics
from tests.unit.sources import ROOT

DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
FOREIGN_LABELS = {"le", "instance", "job"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def ours() -> dict[str, set[str]]:
    """Name of each series -> its labels."""
    known = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            for suffix in SUFFIXES[str(metric._type)]:
                known[metric._name + suffix] = set(metric._labelnames)
    return known


def expressions() -> Iterator[tuple[str, str]]:
    """Every query, with the place where it stands."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


SERIES = ours()


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_a_query_asks_for_what_exists(place: str, expression: str) -> None:
    names = set(re.findall(r"\b(?:service|bentoml)_\w+", expression))
    assert names or "up{" in expression
    assert names <= SERIES.keys(), place
    labels = {label for name in names for label in SERIES[name]} | FOREIGN_LABELS
    asked = set(re.findall(r"(\w+)\s*=~?\"", expression))
    for part in re.findall(r"by \(([^)]+)\)", expression):
        asked |= {label.strip() for label in part.split(",")}
    assert asked <= labels, place


def test_every_metric_is_shown() -> None:
    text = " ".join(expression for _, expression in expressions())
    unused = [name for name in SERIES if not name.endswith(("_sum", "_count")) and name not in text]
    assert [name for name in unused if name.removesuffix("_bucket") + "_sum" not in text] == []


def test_legends_use_labels_of_their_query() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), panel["title"]


@pytest.mark.parametrize(
    "rule", [rule for group in ALERTS["groups"] for rule in group["rules"]], ids=lambda r: r["alert"]
)
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "action"}
    assert all(text.endswith(".") for text in rule["annotations"].values())
