"""The live view: charts from /metrics while the page is visible, with gaps for failed polls."""

from __future__ import annotations

import re
from collections.abc import Iterator

from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import Visit, axe, overflows, shot
from tests.browser.looks import looks
from tests.browser.modules import longest_task_cpu_ms, requests_to
from tests.conftest import MODEL
from tests.serving import http_post

PATIENCE_MS = 300_000
PAUSE_MS = 2500
"""Longer than the interval between polls."""
CHARTS = 12


def values(page: Page, title: str) -> Locator:
    """The rows of a chart in the table of current values."""
    return page.locator(".live-table tbody", has=page.get_by_role("rowheader", name=title, exact=True))


def work(visit: Visit) -> None:
    """Send requests, so that the charts have values."""
    for body in ({"input": ["a text", "a longer text about nothing"]}, {"input": ["one"]}, {"inputs": "wrong"}):
        http_post(f"{visit.url}/v1/embeddings", json=body, timeout=300)


class Scripted:
    """Responses to /metrics from a list; the last one is repeated."""

    def __init__(self, page: Page, answers: Iterator[str | None]) -> None:
        self.polls = 0
        self._answers = answers
        page.route("**/metrics", self._answer)

    def _answer(self, route: Route) -> None:
        self.polls += 1
        text = next(self._answers)
        if text is None:
            route.abort()
        else:
            route.fulfill(content_type="text/plain", body=text)


@looks
def test_charts_and_table(visit: Visit, lang: str, theme: str, phone: bool) -> None:
    page = visit("live", lang=lang, theme=theme, phone=phone)
    expect(page.get_by_role("img")).to_have_count(CHARTS)
    table = page.locator(".live-table")
    expect(table).to_contain_text(MODEL, timeout=PATIENCE_MS)  # its memory
    page.wait_for_timeout(1500)  # the first poll, for differences
    for _ in range(3):
        work(visit)
    expect(table).to_contain_text("/v1/embeddings 200", timeout=PATIENCE_MS)
    expect(table).to_contain_text("invalid_value")
    expect(table).to_contain_text(re.compile(r"\d (ms|s|秒)"))
    axe(page)
    assert not overflows(page)
    shot(page, f"live-{lang}-{theme}-{'phone' if phone else 'wide'}")


def test_numbers_are_computed_from_differences(visit: Visit) -> None:
    def text(at: int) -> str:
        ends = {"0.1": 9 * at, "1.0": 10 * at, "+Inf": 10 * at}
        return (
            f'service_requests_total{{route="/v1/rerank",model="m",status="200"}} {10 * at}\n'
            f'service_computed_tokens_total{{model="m"}} {3000 * at}\n'
            f'service_padding_tokens_total{{model="m"}} {1000 * at}\n'
            f'service_queue_tokens{{model="m"}} 123\nservice_model_bytes{{model="m"}} 2e9\n'
            + "".join(
                f'service_request_seconds_bucket{{route="/v1/rerank",le="{end}"}} {number}\n'
                for end, number in ends.items()
            )
        )

    page = visit("models")
    Scripted(page, (text(at) for at in range(1, 1000)))
    page.get_by_role("link", name="Live").click()
    expect(values(page, "Tokens waiting")).to_contain_text("123")
    expect(values(page, "Memory of loaded models")).to_contain_text("2.0 GB")
    expect(values(page, "Padding, share of what is computed")).to_contain_text("25 %")
    expect(values(page, "Latency, median by route")).to_contain_text("56 ms")  # 5 of 9 in the first 100 ms
    rate = values(page, "Tokens computed a second").locator("td").last
    expect(rate).to_contain_text(re.compile(r"[23],\d\d\d"))  # 3,000 per poll, which takes a second or slightly more


def test_a_restart_shows_a_note_and_no_negative_numbers(visit: Visit) -> None:
    def answers() -> Iterator[str]:
        for number in (1000, 1010, 5):
            yield f'service_errors_total{{code="overloaded"}} {number}\n'
        while True:
            yield 'service_errors_total{code="overloaded"} 5\n'

    page = visit("models")
    Scripted(page, answers())
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_text("The service was restarted; its counters were reset.")).to_be_visible()
    expect(values(page, "Errors a second, by code")).to_contain_text("overloaded")
    path = page.locator(".chart-card", has_text="Errors a second").locator(".chart-line").first.get_attribute("d")
    assert path
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ (-?[\d.]+)", path)]
    assert max(heights) <= 112  # of the axis: nothing is below 0


def test_a_lost_connection_shows_a_gap(visit: Visit) -> None:
    visit.allow("ERR_FAILED")
    page = visit("models")
    line = 'service_queue_tokens{model="m"} 5\n'
    Scripted(page, (text for text in [line, line, None, None, *[line] * 900]))
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_text("The service cannot be reached; retrying.")).to_be_visible()
    expect(page.get_by_text("Updated every second")).to_be_visible(timeout=PATIENCE_MS)
    path = page.locator(".chart-card", has_text="Tokens waiting").locator(".chart-line").first.get_attribute("d")
    assert path
    assert path.count("M") == 2


def test_a_slow_poll_is_cancelled(visit: Visit) -> None:
    page = visit("models")
    page.route("**/metrics", never)
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_text("No response within 5 s; retrying.")).to_be_visible(timeout=PATIENCE_MS)


def test_polls_only_while_visible_and_not_paused(visit: Visit) -> None:
    page = visit("live")
    expect(page.locator(".live-table")).to_contain_text(MODEL, timeout=PATIENCE_MS)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused: no requests are sent.")).to_be_visible()
    polls = requests_to(page, "/metrics")
    page.wait_for_timeout(PAUSE_MS)
    assert polls == []
    page.get_by_role("button", name="Go on").click()
    page.wait_for_timeout(PAUSE_MS)
    assert polls
    show(page, "hidden")
    polls.clear()
    page.wait_for_timeout(PAUSE_MS)
    assert polls == []
    show(page, "visible")
    page.wait_for_timeout(PAUSE_MS)
    assert polls
    page.get_by_role("link", name="Rerank").click()
    page.get_by_role("heading", level=2, name="Rerank").wait_for()
    polls.clear()
    page.wait_for_timeout(PAUSE_MS)
    assert polls == []


def never(route: Route) -> None:
    """Never respond."""


def show(page: Page, state: str) -> None:
    """Simulate that the tab is hidden or visible."""
    page.evaluate(
        """(state) => {
          Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


def test_the_table_does_not_change_while_it_has_the_focus(visit: Visit) -> None:
    page = visit("live")
    table = page.get_by_role("region", name="Current values")
    expect(table).to_contain_text(MODEL, timeout=PATIENCE_MS)
    table.focus()
    page.wait_for_timeout(1200)  # an update may have started
    row = table.locator("tbody tr").first.element_handle()
    page.wait_for_timeout(PAUSE_MS)
    assert row.evaluate("row => row.isConnected")


def test_polls_do_not_block_the_page(visit: Visit, browser: Browser) -> None:
    page = visit("live")
    expect(page.locator(".live-table")).to_contain_text(MODEL, timeout=PATIENCE_MS)
    assert longest_task_cpu_ms(browser, page, lambda: page.wait_for_timeout(5000)) < 50
