"""Helpers for tests of the embeddings view."""

from __future__ import annotations

from playwright.sync_api import Page, expect

RUN = {"en": "Embed", "ja": "ベクトル化"}


def embed(page: Page, texts: list[str], *, lang: str = "en", timeout_s: int = 30) -> None:
    """Enter texts, run, and wait until all results are drawn."""
    page.locator("textarea").fill("\n".join(texts))
    run(page, lang=lang, timeout_s=timeout_s)


def run(page: Page, *, lang: str = "en", timeout_s: int = 30) -> None:
    """Press the button and wait for the result."""
    page.get_by_role("button", name=RUN[lang]).click()
    for drawn in (".scatter-map", ".heat-map", ".neighbours table"):
        page.locator(drawn).wait_for(timeout=timeout_s * 1000)
    settled(page)


def settled(page: Page) -> None:
    """Wait until nothing is being computed."""
    expect(page.locator("main [aria-busy=true]")).to_have_count(0, timeout=300_000)


def cut_to(page: Page, width: int) -> None:
    """Set the slider to a number of dimensions and wait for the results."""
    page.get_by_role("slider").fill(str(width))
    page.get_by_role("button", name="JSON").locator("xpath=../..").get_by_text(f"{width} of").wait_for()
    settled(page)
