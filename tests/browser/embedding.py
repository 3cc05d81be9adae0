"""What tests of the embeddings view do again and again."""

from __future__ import annotations

from playwright.sync_api import Page, expect

RUN = {"en": "Embed", "ja": "ベクトル化"}


def embed(page: Page, texts: list[str], *, lang: str = "en", timeout_s: int = 30) -> None:
    """Write texts and wait until all that is computed of their vectors is drawn."""
    page.locator("textarea").fill("\n".join(texts))
    run(page, lang=lang, timeout_s=timeout_s)


def run(page: Page, *, lang: str = "en", timeout_s: int = 30) -> None:
    """Press the button, see the answer."""
    page.get_by_role("button", name=RUN[lang]).click()
    for drawn in (".scatter-map", ".heat-map", ".neighbours table"):
        page.locator(drawn).wait_for(timeout=timeout_s * 1000)
    settled(page)


def settled(page: Page) -> None:
    """Nothing is being computed."""
    expect(page.locator("main [aria-busy=true]")).to_have_count(0, timeout=300_000)


def cut_to(page: Page, width: int) -> None:
    """Move the slider and wait for what follows."""
    page.get_by_role("slider").fill(str(width))
    page.get_by_role("button", name="JSON").locator("xpath=../..").get_by_text(f"{width} of").wait_for()
    settled(page)
