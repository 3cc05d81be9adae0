"""Helpers for tests of the rerank view: fill the form, run it, read the rankings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.tolerance import openvino_precision, shared_pass_atol

QUERY = "How can I make my home network faster?"
PASSAGES = [
    "Sourdough needs a starter of flour and water.",
    "Move the router to the middle of the home.",
    "The first telegraph cable across the Atlantic was laid in 1858.",
    "An Ethernet cable is faster and steadier than Wi-Fi.",
    "ルーターは家の中央に置くと電波が届きやすくなります。",
    "Restarting an old modem often helps when pages load slowly.",
]
SHOWN_ATOL = 5e-5 + shared_pass_atol(openvino_precision())
"""Tolerance: the page shows four decimals, and the same request may share a pass with others."""


def fill(page: Page, query: str = QUERY, passages: Sequence[str] = PASSAGES) -> None:
    """Enter the query and the passages."""
    page.locator(".rerank-form input[type=text]").fill(query)
    page.locator(".rerank-form textarea").fill("\n".join(passages))


def choose(page: Page, first: str | None = None, second: str | None = None) -> None:
    """Select model A and model B."""
    for place, name in enumerate((first, second)):
        if name is not None:
            page.locator(".model-chooser select").nth(place).select_option(name)


def run(page: Page, *, timeout_ms: float = 300_000) -> None:
    """Press the button and wait until the run has ended."""
    page.locator(".runner .button").click()
    expect(page.locator(".runner")).to_have_attribute("aria-busy", "false", timeout=timeout_ms)


def rows(page: Page, place: int = 0) -> Locator:
    """The drawn rows of a ranking."""
    return page.locator(".ranked").nth(place).locator(".ranked-row")


def shown(page: Page, place: int = 0) -> list[dict[str, Any]]:
    """Rank, score, original position and movement of each row."""
    texts = rows(page, place).evaluate_all(
        "rows => rows.map(row => [...['.rank', '.row-facts b', '.from', '.move'].map(part =>"
        " row.querySelector(part).textContent), row.dataset.index])"
    )
    return [
        {
            "rank": int(rank.replace(",", "")),
            "score": float(score.replace("\u2212", "-")),
            "position": int(re.sub(r"\D", "", position)),
            "movement": movement,
            "index": int(index),
        }
        for rank, score, position, movement, index in texts
    ]


def movement(before: int, after: int) -> str:
    """A movement in the page's format."""
    if before == after:
        return "="
    return f"+{before - after}" if before > after else f"\u2212{after - before}"
