"""The tokens view: weights of sparse vectors, and matches of token vectors, with a tiny bge-m3."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import TOKENS_MODEL, Visit, axe, overflows, shot
from tests.browser.looks import looks
from tests.serving import http_post

QUERY = "Mars is a red planet"
PASSAGES = ["The red planet is Mars.", "火星は赤い惑星です。 \U0001f52d Mars", "A violin has four strings."]
SHOWN_ATOL = 2e-4
"""The page shows four decimals, of sums of numbers that may have been computed in another batch."""


def outputs_of(url: str, texts: list[str], side: str) -> list[dict[str, Any]]:
    """The service's own response, as numbers."""
    body = {
        "model": TOKENS_MODEL,
        "input": texts,
        "input_type": side,
        "return_dense": False,
        "return_sparse": True,
        "return_colbert_vecs": True,
        "return_tokens": True,
    }
    data: list[dict[str, Any]] = (
        http_post(f"{url}/v1/embeddings", json=body, timeout=300).raise_for_status().json()["data"]
    )
    return data


def weights(item: dict[str, Any]) -> dict[str, float]:
    """Token -> weight."""
    sparse = item["sparse_embedding"]
    return dict(zip(sparse["tokens"], sparse["values"], strict=True))


def similarities(query: dict[str, Any], passage: dict[str, Any]) -> NDArray[np.float64]:
    """(passage tokens, query tokens)"""
    return np.asarray(np.array(passage["colbert_vecs"]) @ np.array(query["colbert_vecs"]).T)


def compare(page: Page, *, query: str = QUERY, passages: list[str] | None = None) -> None:
    """Fill in the form, run, and wait for the result."""
    page.locator(".model-chooser select").select_option(TOKENS_MODEL)
    page.locator("form input[type=text]").fill(query)
    page.locator("textarea").fill("\n".join(passages or PASSAGES))
    run(page)


def run(page: Page) -> None:
    """Press the button and wait for the result."""
    page.locator(".runner .button").click()
    page.locator(".weighted-text").first.wait_for()


def numbers(row: Locator) -> list[float]:
    """The numbers of a row of a table."""
    return [float(text) for text in row.locator("td.numeric").all_inner_texts()]


def rows(page: Page, caption: str) -> list[Locator]:
    """The rows of the table with a caption."""
    return page.get_by_role("region", name=caption).locator("tbody tr").all()


@looks
def test_the_example_is_compared(visit: Visit, lang: str, theme: str, phone: bool) -> None:
    page = visit("tokens", lang=lang, theme=theme, phone=phone)
    page.locator(".model-chooser select").select_option(TOKENS_MODEL)
    page.locator(".samples button").nth(0 if lang == "en" else 1).click()
    run(page)
    expect(page.locator(".token-scores tbody tr")).to_have_count(10)
    expect(page.locator(".heat-map path[class^=heat-]")).to_have_count(12)
    axe(page)
    assert not overflows(page)
    shot(page, f"tokens-{lang}-{theme}-{'phone' if phone else 'wide'}")


def test_scores_and_tables_match_the_vectors_of_the_service(visit: Visit) -> None:
    page = visit("tokens")
    compare(page)
    (query,), passages = outputs_of(visit.url, [QUERY], "query"), outputs_of(visit.url, PASSAGES, "document")
    products = [
        {token: weight * weights(query)[token] for token, weight in weights(each).items() if token in weights(query)}
        for each in passages
    ]
    sparse = [sum(each.values()) for each in products]
    grids = [similarities(query, each) for each in passages]
    order = sorted(range(3), key=lambda index: -sparse[index])
    expected = [[sparse[index], grids[index].max(axis=0).sum()] for index in order]
    shown = [numbers(row) for row in page.locator(".token-scores tbody tr").all()]
    np.testing.assert_allclose(shown, expected, atol=SHOWN_ATOL)

    page.get_by_role("button", name=PASSAGES[1]).click()
    expect(page.locator(".token-passage[aria-current]")).to_be_focused()
    expect(page.locator(".weighted-text").nth(1)).to_have_text(PASSAGES[1])
    of_passage = page.locator(".token-table").nth(1).locator("tbody tr")
    found = {row.locator("th").inner_text(): numbers(row)[0] for row in of_passage.all()}
    assert found == pytest.approx(weights(passages[1]), abs=SHOWN_ATOL)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    shared = {
        row.locator("th").inner_text(): numbers(row)[-1] for row in rows(page, f"Shared tokens: {len(products[1])}")
    }
    assert shared == pytest.approx(products[1], abs=SHOWN_ATOL)

    matches = rows(page, "Best match of each query token")
    assert [row.locator("th").inner_text() for row in matches] == query["colbert_tokens"]
    best = grids[1].argmax(axis=0)
    assert [row.locator("td").first.inner_text() for row in matches] == [
        passages[1]["colbert_tokens"][index] for index in best
    ]
    np.testing.assert_allclose(
        [numbers(row) for row in matches], np.c_[best + 1, grids[1].max(axis=0)], atol=SHOWN_ATOL
    )
    assert page.locator(".heat-mark").count() == len(query["colbert_tokens"])

    heat = page.get_by_role("application")
    heat.focus()
    for key in ("ArrowDown", "End", "ArrowLeft"):
        heat.press(key)
    names = query["colbert_tokens"][-2], passages[1]["colbert_tokens"][1]
    heard = f"Query {names[0]}, passage {names[1]}: {grids[1][1, -2]:.3f}"
    expect(heat.locator("xpath=..").get_by_role("status")).to_contain_text(heard)


def test_tokens_that_are_not_in_the_text(visit: Visit, tmp_path: Path) -> None:
    """A model that expands texts is simulated: its vectors have one more token."""

    def expanded(route: Route) -> None:
        answer = route.fetch().json()
        for item in answer["data"]:
            sparse = item["sparse_embedding"]
            for name, value in (("indices", 1_000_000), ("values", 9.5), ("tokens", "=astronomy")):
                sparse[name].append(value)
        route.fulfill(json=answer)

    page = visit("tokens")
    page.route("**/v1/embeddings", expanded)
    compare(page, passages=PASSAGES[:1])
    for table in (0, 1):
        first = page.locator(".token-table").nth(table).locator("tbody tr").first
        expect(first).to_contain_text("=astronomy")
        expect(first).to_contain_text("added by the model")
    expect(page.get_by_text("of which 1 are not in the text")).to_have_count(2)
    expect(page.get_by_role("region", name="Shared tokens").locator("tbody tr").first).to_contain_text("90.2500")
    with page.expect_download() as started:
        page.get_by_role("button", name="Weights").click()
    path = tmp_path / started.value.suggested_filename
    started.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert path.name == f"{TOKENS_MODEL}-weights.csv"
    assert {row["side"] for row in lines} == {"query", "document"}
    assert [(row["token"], row["weight"]) for row in lines if row["in_text"] == "0"] == [("'=astronomy", "9.5")] * 2


def test_without_a_query_an_earlier_run_and_a_link(visit: Visit) -> None:
    page = visit("tokens")
    compare(page, query="", passages=PASSAGES[:1])
    expect(page.locator(".token-table")).to_have_count(1)
    expect(page.get_by_role("application")).to_have_count(0)
    compare(page)
    page.get_by_role("application").wait_for()
    page.get_by_text("Earlier runs in this tab: 2").click()
    page.locator(".earlier-run").last.click()
    expect(page.locator("textarea")).to_have_value(PASSAGES[0])
    expect(page.get_by_role("application")).to_have_count(0)
    page.get_by_text("Earlier runs in this tab: 2").click()
    page.locator(".earlier-run").first.click()
    page.get_by_role("button", name="Copy a link").click()
    expect(page.get_by_text("Copied. The link contains your texts")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    other = visit("models")
    other.goto(link)
    expect(other.locator("form input[type=text]")).to_have_value(QUERY)
    expect(other.locator("textarea")).to_have_value("\n".join(PASSAGES))
    expect(other.locator(".model-chooser select")).to_have_value(TOKENS_MODEL)
