"""A thousand passages are ranked, drawn and scrolled without blocking the page."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import RERANKER, SECOND_RERANKER, Visit, axe, shot
from tests.browser.lines_field import give_file
from tests.browser.reranking import choose, fill, rows, run, shown

LONGEST_TASK_MS = 100
WORDS = ["router", "cable", "network", "speed", "bread", "house", "price", "spider", "sleep", "ocean", "modem"]


@contextmanager
def tasks(browser: Browser, page: Page) -> Iterator[list[float]]:
    """CPU milliseconds of each task of the page's thread, which other processes do not affect."""
    found: list[float] = []
    browser.start_tracing(page=page, categories=["toplevel"])
    yield found
    events: list[dict[str, Any]] = json.loads(browser.stop_tracing())["traceEvents"]
    threads = {
        (each["pid"], each["tid"])
        for each in events
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    found += [
        each["tdur"] / 1000
        for each in events
        if each["name"] == "ThreadControllerImpl::RunTask" and (each["pid"], each["tid"]) in threads and "tdur" in each
    ]


def test_a_thousand_passages(visit: Visit, browser: Browser) -> None:
    page = visit("rerank")
    chance = random.Random(7)
    passages = [f"{number} {' '.join(chance.choices(WORDS, k=chance.randint(10, 60)))}" for number in range(1000)]
    fill(page, "how fast is the network", [])
    choose(page, RERANKER, SECOND_RERANKER)
    with tasks(browser, page) as found:
        give_file(page, "many.txt", "\n".join(passages))
        expect(page.locator(".file-card li")).to_have_count(3)
        run(page, timeout_ms=120_000)
        expect(page.locator(".bump-lines path").first).to_be_attached()
        box = page.locator(".rankings")
        for position in range(0, 90_000, 9_000):
            box.evaluate("(box, position) => { box.scrollTop = position; }", position)
            page.wait_for_timeout(50)
    assert len(found) > 100
    assert max(found) < LONGEST_TASK_MS, sorted(found)[-5:]
    box.scroll_into_view_if_needed()
    shot(page, "rerank-thousand", whole=False)
    axe(page)

    # Every passage can be reached, and the rows have the total number
    expect(page.locator(".ranked").first.locator("li").first).to_have_attribute("aria-setsize", "1000")
    rows(page).first.focus()
    page.keyboard.press("End")
    expect(rows(page).last).to_be_focused()
    assert shown(page)[-1]["rank"] == 1000
    page.keyboard.press("Home")
    expect(rows(page).first).to_be_focused()
    assert shown(page)[0]["rank"] == 1
    index = rows(page).first.get_attribute("data-index")
    page.keyboard.press("ArrowRight")
    across = page.locator(f".ranked >> nth=1 >> .ranked-row[data-index='{index}']")
    expect(across).to_be_focused()
    expect(across).to_be_in_viewport()
    assert rows(page).count() < 100
