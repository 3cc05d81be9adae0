"""The embeddings view: texts, dimensions, map, neighbours, similarities and files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit, axe, overflows, shot
from tests.browser.embedding import cut_to, embed, run, settled
from tests.browser.looks import looks
from tests.browser.modules import requests_to
from tests.conftest import MODEL
from tests.serving import http_get, http_post
from tests.tolerance import openvino_precision, shared_pass_atol

TEXTS = [
    "The cat sleeps on the sofa.",
    "A kitten lies on the couch.",
    "Dogs like to run in the park.",
    "The bank raised its interest rate.",
    "My loan has become more expensive.",
    "Money is worth less every year.",
    "It rains all day.",
]
MARKUP = ["<img src=x onerror=alert(1)>", '"><script>alert(2)</script>', "{name} &amp; ${1}", "=1+1"]


def never(route: Route) -> None:
    """Never respond."""


def download(page: Page, kind: str, folder: Path) -> Path:
    """The file that a button downloads."""
    with page.expect_download() as started:
        page.get_by_role("button", name=kind, exact=True).click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def vectors_of(url: str, texts: list[str], **more: Any) -> NDArray[np.float32]:
    """The vectors in the service's response."""
    answer = http_post(f"{url}/v1/embeddings", json={"model": MODEL, "input": texts, **more}, timeout=300)
    return np.array([entry["embedding"] for entry in answer.raise_for_status().json()["data"]], np.float32)


@looks
def test_the_example_is_embedded(visit: Visit, lang: str, theme: str, phone: bool) -> None:
    page = visit("embeddings", lang=lang, theme=theme, phone=phone)
    run(page, lang=lang)
    expect(page.locator(".heat-map path[class^=heat-]")).to_have_count(12)
    expect(page.locator(".text-list option")).to_have_count(12)
    axe(page)
    assert not overflows(page)
    shot(page, f"embeddings-{lang}-{theme}-{'phone' if phone else 'wide'}")
    page.get_by_role("button", name="Table" if lang == "en" else "表", exact=True).click()
    expect(page.locator(".similarity-table td")).to_have_count(144)
    page.get_by_role("slider").fill("32")
    expect(page.locator(".neighbours thead th")).to_have_count(4)
    settled(page)
    axe(page)
    assert not overflows(page)
    shot(page, f"embeddings-cut-{lang}-{theme}-{'phone' if phone else 'wide'}")


def test_downloaded_files_have_the_vectors_of_the_service(visit: Visit, tmp_path: Path) -> None:
    page = visit("embeddings")
    embed(page, TEXTS)
    document = json.loads(download(page, "JSON", tmp_path).read_text(encoding="utf-8"))
    assert [entry["text"] for entry in document["data"]] == TEXTS
    atol = shared_pass_atol(openvino_precision())
    whole = np.array([entry["embedding"] for entry in document["data"]], np.float32)
    np.testing.assert_allclose(whole, vectors_of(visit.url, TEXTS), atol=atol)
    cut_to(page, 64)
    path = download(page, "CSV", tmp_path)
    assert path.name == f"{MODEL}-64.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == TEXTS
    shorter = np.array([[row[f"d{column}"] for column in range(64)] for row in rows], np.float32)
    np.testing.assert_allclose(shorter, vectors_of(visit.url, TEXTS, dimensions=64), atol=atol)


def test_neighbours_with_fewer_dimensions(visit: Visit) -> None:
    page = visit("embeddings")
    embed(page, TEXTS)
    page.locator(".text-list").select_option("3")
    page.get_by_label("Neighbours").select_option("3")

    def order(vectors: NDArray[np.float32], text: int) -> list[int]:
        return [int(index) for index in np.argsort(-(vectors @ vectors[text]), kind="stable") if index != text]

    whole, shorter = vectors_of(visit.url, TEXTS), vectors_of(visit.url, TEXTS, dimensions=8)
    caption = page.locator(".neighbours caption")
    expect(caption).to_contain_text("Nearest to 4")
    expect(page.locator(".neighbours tbody tr")).to_have_count(3)
    numbers = page.locator(".neighbours tbody td:last-child b")
    assert numbers.all_inner_texts() == [str(index + 1) for index in order(whole, 3)[:3]]
    cut_to(page, 8)
    before, after = order(whole, 3), order(shorter, 3)
    dropped = [index for index in before[:3] if index not in after[:3]]
    expect(numbers).to_have_text([str(index + 1) for index in [*after[:3], *dropped]])
    for row, index in zip(page.locator(".neighbours tbody tr").all(), after[:3], strict=False):
        was = before.index(index) + 1
        text = "same" if was == after.index(index) + 1 else f"from {was}"
        expect(row.locator("td").nth(1)).to_contain_text(text)
    kept = [len(set(order(whole, text)[:3]) & set(order(shorter, text)[:3])) / 3 for text in range(len(TEXTS))]
    expect(page.get_by_text(f"{100 * np.mean(kept):.1f} % are kept")).to_be_visible()
    expect(page.get_by_text("was not trained for shorter vectors")).to_be_visible()


def test_widths_that_the_model_was_trained_for(visit: Visit) -> None:
    listing = http_get(f"{visit.url}/models").json()
    next(each for each in listing["models"] if each["id"] == MODEL)["matryoshka_dimensions"] = [256, 128]
    page = visit("rerank")
    page.route("**/models", lambda route: route.fulfill(json=listing))  # no request to the service when the page closes
    page.reload()
    page.get_by_role("link", name="Embeddings").click()
    expect(page.get_by_label("Embedding model")).to_have_value(MODEL)
    embed(page, TEXTS)
    assert page.locator("datalist option").evaluate_all("all => all.map((each) => each.value)") == ["128", "256", "384"]
    page.get_by_role("button", name="128, trained for").click()
    expect(page.get_by_label("Exact number of dimensions")).to_have_value("128")
    expect(page.get_by_text("was trained for 128, 256, 384")).to_be_hidden()
    cut_to(page, 100)
    expect(page.get_by_text("was trained for 128, 256, 384")).to_be_visible()


def test_cells_and_points_by_keyboard(visit: Visit) -> None:
    page = visit("embeddings")
    embed(page, TEXTS)
    vectors = vectors_of(visit.url, TEXTS)
    cosines = vectors @ vectors.T
    heat = page.get_by_role("application", name=re.compile("Heat map of 7"))
    heat.focus()
    for key in ("ArrowDown", "ArrowDown", "End", "ArrowLeft"):
        heat.press(key)
    heard = heat.locator("xpath=..").get_by_role("status")
    expect(heard).to_contain_text(f"3 and 6: {cosines[2, 5]:.4f}")
    heat.press("Enter")
    expect(page.locator(".neighbours caption")).to_contain_text("Nearest to 3")
    scatter = page.get_by_role("application", name=re.compile("Map of 7"))
    scatter.focus()
    scatter.press("End")
    expect(scatter.locator("xpath=..").get_by_role("status")).to_have_text(f"7 {TEXTS[6]}")
    scatter.press("Enter")
    expect(page.locator(".text-list")).to_have_value("6")
    for arrow in ("ArrowUp", "ArrowLeft", "ArrowRight", "ArrowDown"):
        scatter.press(arrow)
    assert scatter.evaluate("box => box === document.activeElement")


def test_hovering_shows_a_cell_and_a_point(visit: Visit) -> None:
    page = visit("embeddings")
    embed(page, TEXTS)
    vectors = vectors_of(visit.url, TEXTS)
    page.locator(".heat-map").scroll_into_view_if_needed()
    box = page.locator(".heat-map").bounding_box()
    assert box
    page.mouse.move(box["x"] + 30 + 48 * 1.5, box["y"] + 16 + 48 * 0.5)
    shown = page.locator(".heat-box ~ .readout")
    expect(shown).to_contain_text(f"{vectors[0] @ vectors[1]:.4f}")
    expect(shown).to_contain_text(TEXTS[1])
    page.locator(".map-points").first.scroll_into_view_if_needed()
    ring = page.locator(".map-chosen").bounding_box()
    assert ring
    page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    expect(page.locator(".map-box ~ .readout")).to_contain_text(TEXTS[0])


def test_queries_and_documents_in_one_list(visit: Visit) -> None:
    page = visit("embeddings")
    requests = requests_to(page, "/v1/embeddings")
    page.get_by_label("Side of a search").select_option("mixed")
    embed(page, ["? who sleeps", *TEXTS[:3]])
    bodies: list[dict[str, Any]] = [json.loads(request.post_data or "") for request in requests]
    sides = {body["input_type"]: body["input"] for body in bodies}
    assert sides == {"query": ["who sleeps"], "document": TEXTS[:3]}
    assert {body["encoding_format"] for body in bodies} == {"base64"}
    expect(page.locator(".text-list option").first).to_have_text("1 ◆ who sleeps")
    expect(page.locator(".copy-as")).to_have_count(2)
    axe(page)
    shot(page, "embeddings-mixed")


def test_prompts_are_shown_before_they_are_used(visit: Visit) -> None:
    page = visit("embeddings")
    page.get_by_label("Embedding model").select_option("ruri-v3-30m")
    page.get_by_label("Side of a search").select_option("query")
    expect(page.get_by_text("ruri-v3-30m puts this before a query: “検索クエリ: ”")).to_be_visible()
    page.get_by_label("Embedding model").select_option("qwen3-embedding-0.6b")
    expect(page.get_by_label("Instruction (optional)")).to_be_visible()
    page.get_by_label("Embedding model").select_option(MODEL)
    expect(page.get_by_text("puts nothing before a query")).to_be_visible()


def test_markup_is_shown_as_text(visit: Visit) -> None:
    page = visit("embeddings")
    embed(page, MARKUP)
    expect(page.locator(".text-list option").nth(1)).to_have_text(f"2 {MARKUP[1]}")
    page.get_by_label("Neighbours").select_option("3")
    expect(page.locator(".neighbours td:last-child", has_text=MARKUP[2])).to_be_visible()
    assert page.locator("main img, main script").count() == 0


def test_missing_and_too_many_texts(visit: Visit, tmp_path: Path) -> None:
    visit.allow("status of 400")
    page = visit("embeddings")
    page.locator("textarea").fill("\n \n")
    page.get_by_role("button", name="Embed").click()
    expect(page.get_by_text("Write at least one text.")).to_be_visible()
    # pasted, because typing 2,000 lines is slow
    page.locator("textarea").evaluate(
        "area => { area.value = 'word\\n'.repeat(2049); area.dispatchEvent(new Event('input')); }"
    )
    expect(page.get_by_text("2,049 texts: more than the 2,048")).to_be_visible()
    page.get_by_role("button", name="Embed").click()
    expect(page.get_by_role("alert")).to_contain_text("input has 2049 items; a request may have at most 2048")
    file = tmp_path / "many.txt"
    file.write_text("\n".join(f"text {number}" for number in range(2100)), encoding="utf-8")
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("2,048 of at most 2,048 texts")).to_be_visible()
    expect(page.get_by_text("the first 2,048 are used, 52 are left out")).to_be_visible()


def test_cancelling(visit: Visit) -> None:
    page = visit("embeddings")
    page.route("**/v1/embeddings", never)
    page.get_by_role("button", name="Embed").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.")).to_be_visible()
    page.unroute("**/v1/embeddings")
    run(page)


def test_results_are_kept_when_language_or_view_changes(visit: Visit) -> None:
    page = visit("embeddings")
    embed(page, TEXTS)
    cut_to(page, 50)
    page.get_by_role("link", name="Models").click()
    page.get_by_role("link", name="Embeddings").click()
    page.get_by_role("combobox", name="Language").select_option("ja")
    expect(page.get_by_label("次元数 (数値で指定)")).to_have_value("50")
    expect(page.locator("textarea")).to_have_value("\n".join(TEXTS))
    settled(page)
    expect(page.locator(".scatter-map")).to_be_visible()
