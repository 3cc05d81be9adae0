"""Numbers of the live view, compared with prometheus_client's parser and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from playwright.sync_api import Page
from prometheus_client.parser import text_string_to_metric_families

from tests.browser.conftest import Visit
from tests.browser.modules import call
from tests.serving import http_get, http_post

PARSE = """({ parseMetrics }, text) => [...parseMetrics(text)].flatMap(([name, samples]) =>
  samples.map(({ labels, value }) => [name, labels, Number.isFinite(value) ? value : String(value)]))"""
HISTORY = """async ({ History }, { polls, read, args }) => {
  const { parseMetrics } = await import("./metrics_text.js");
  const history = new History();
  for (const [time, text] of polls) {
    if (text === null) history.miss(time);
    else history.push(time, parseMetrics(text));
  }
  const series = history[read](...args, (labels) => labels.model ?? labels.route);
  return { series: Object.fromEntries(series), restartedAt: history.restartedAt, moments: history.moments.length };
}"""


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("models")


def history(page: Page, polls: Sequence[tuple[float, str | None]], read: str, *args: Any) -> dict[str, Any]:
    """The results of a History of these polls."""
    found: dict[str, Any] = call(
        page,
        "live_history.js",
        HISTORY.replace("./metrics_text.js", "./playground/metrics_text.js"),
        {"polls": polls, "read": read, "args": args},
    )
    return found


def number(value: float | str) -> float:
    """Numbers that JSON cannot represent."""
    return float(value.replace("Infinity", "inf")) if isinstance(value, str) else value


def count(value: float, name: str = "things_total") -> str:
    return f'{name}{{model="m"}} {value}\n'


def test_the_parser_equals_prometheus_client(page: Page, visit: Visit) -> None:
    http_post(f"{visit.url}/v1/embeddings", json={"input": "a text"}).raise_for_status()
    text = http_get(f"{visit.url}/metrics").text
    text += 'odd{a="x\\"y\\\\z\\n",b="},{"} +Inf 1700000000000\nlone NaN\n'
    read = call(page, "metrics_text.js", PARSE, text)
    ours = {(name, tuple(sorted(labels.items()))): number(value) for name, labels, value in read}
    theirs = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, nan_ok=True)


def test_invalid_lines_are_ignored(page: Page) -> None:
    text = "# HELP a b\n\nbroken{x=1} 2\nno_value\n{} 3\ngood 4"
    assert call(page, "metrics_text.js", PARSE, text) == [["good", {}, 4]]


def test_rates_are_computed_from_differences(page: Page) -> None:
    polls = [(0, count(10)), (1, count(15)), (3, count(25)), (4, None), (6, count(40))]
    found = history(page, polls, "rates", "things_total")
    assert found["series"] == {"m": [None, 5, 5, None, 5]}  # the last rate covers the 3 s since the last response
    assert found["restartedAt"] is None


def test_a_restarted_service_counts_from_zero(page: Page) -> None:
    found = history(page, [(0, count(100)), (1, count(130)), (2, count(4)), (3, count(6))], "rates", "things_total")
    assert found["series"] == {"m": [None, 30, 4, 2]}
    assert found["restartedAt"] == 2


def test_a_series_that_appears_counts_from_zero(page: Page) -> None:
    found = history(page, [(0, "other_total 1\n"), (1, count(7)), (2, count(7))], "rates", "things_total")
    assert found["series"] == {"m": [None, 7, 0]}


def test_no_rate_after_a_long_pause(page: Page) -> None:
    polls = [(0, count(0)), (1, count(1)), (60, count(600)), (61, count(602))]
    assert history(page, polls, "rates", "things_total")["series"] == {"m": [None, 1, None, 2]}


def test_two_minutes_are_kept(page: Page) -> None:
    polls = [(float(time), count(time)) for time in range(300)]
    assert history(page, polls, "rates", "things_total")["moments"] == 122


def test_averages_and_shares_need_an_increase(page: Page) -> None:
    def text(total: float, number: float) -> str:
        return count(total, "batch_sum") + count(number, "batch_count")

    polls = [(0, text(0, 0)), (1, text(12, 3)), (2, text(12, 3)), (3, text(20, 4))]
    found = history(page, polls, "ratios", "batch_sum", ["batch_count"])
    assert found["series"] == {"m": [None, 4, None, 8]}


def test_gauges_are_shown_unchanged(page: Page) -> None:
    polls = [(0, count(3, "queue")), (1, None), (2, count(1, "queue"))]
    assert history(page, polls, "gauge", "queue")["series"] == {"m": [3, None, 1]}


def test_quantiles_over_ten_seconds(page: Page) -> None:
    """Prometheus' definition, with linear interpolation in a bucket; values before the window are excluded."""

    def text(fast: int, slow: int, beyond: int) -> str:
        ends = {"0.1": fast, "0.5": fast + slow, "+Inf": fast + slow + beyond}
        return "".join(f'latency_bucket{{route="/r",le="{end}"}} {number}\n' for end, number in ends.items())

    fast = [(float(time), text(100, 0, 0)) for time in range(1, 11)]
    polls = [(0.0, text(0, 0, 0)), *fast, (11.0, text(100, 10, 0))]
    median = history(page, polls, "quantiles", "latency", 0.5)["series"]["/r"]
    assert median[1] == pytest.approx(0.05)
    assert median[9] == pytest.approx(0.05)
    assert median[10] is not None
    assert median[11] == pytest.approx(0.3)  # only the ten slow requests are in the window
    last = history(page, [*polls, (12.0, text(100, 10, 90))], "quantiles", "latency", 0.99)["series"]["/r"]
    assert last[12] == pytest.approx(0.5)  # the last finite bucket boundary


def test_additional_series_are_summed_up(page: Page) -> None:
    code = """({ largest }, given) => Object.fromEntries(largest(new Map(Object.entries(given)), 3, "others"))"""
    given = {"a": [1, 1], "b": [9, None], "c": [5, 5], "d": [None, 2], "e": [None, None]}
    found = call(page, "live_history.js", code, given)
    assert found == {"c": [5, 5], "b": [9, None], "others": [1, 3]}
