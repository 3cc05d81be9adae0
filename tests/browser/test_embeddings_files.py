"""Texts to embed from files and drops: the page shows what it read, or why it rejected a file."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit, axe, shot
from tests.browser.lines_field import drag, drop, give_file, notes

MAX_BODY_BYTES = 64 * 2**20
EXAMPLE = "12 of at most 2,048 texts"


def test_notes_show_what_was_read_of_a_table(visit: Visit) -> None:
    page = visit("embeddings")
    give_file(page, "t.csv", 'id,Text\n1,東京\n2,\n3,大阪,4\n5,"京\n都"\n6,奈良\n'.encode("shift_jis"))
    expect(notes(page).locator("p")).to_have_text(
        [
            "4 of at most 2,048 texts",
            "Rows with more cells than the first one, which were not read: 1",
            "Column read: Text",
            "It is not UTF-8; it was read as shift_jis.",
            "Empty ones, skipped: 1",
        ]
    )
    expect(page.locator(".file-preview li")).to_have_text(["東京", "大阪", "京\n都"])
    expect(page.locator(".file-card")).to_contain_text("… and 1 more.")
    axe(page)
    shot(page, "embeddings-file")
    page.get_by_role("button", name="Edit as lines").click()
    expect(page.locator("textarea")).to_have_value("東京\n大阪\n京 都\n奈良")
    expect(page.locator("textarea")).to_be_focused()


def test_rejected_files_show_the_reason(visit: Visit, tmp_path: Path) -> None:
    page = visit("embeddings")
    file = page.locator("input[type=file]")
    large = tmp_path / "large.txt"
    with large.open("wb") as sparse:
        sparse.truncate(MAX_BODY_BYTES + 1)
    file.set_input_files(large)
    expect(notes(page)).to_contain_text("large.txt has 67 MB; a request may have 67 MB.")
    give_file(page, "a.jsonl", '{"title": "no text"}\n')
    expect(notes(page)).to_contain_text("Lines that could not be read: 1, the first is line 1.")
    page.evaluate("() => { Blob.prototype.arrayBuffer = () => Promise.reject(new Error('moved')); }")
    give_file(page, "moved.txt", "a")
    expect(notes(page)).to_contain_text("moved.txt cannot be opened")
    expect(notes(page)).to_contain_text(EXAMPLE)  # the previous texts are kept
    page.get_by_role("combobox", name="Language").select_option("ja")
    expect(notes(page)).to_contain_text("moved.txt を開けません")


def test_files_are_dropped(visit: Visit) -> None:
    page = visit("embeddings")
    drag(page, "a.txt")
    expect(page.locator(".lines-field.dropping")).to_be_visible()
    drop(page, "a.txt", "b.txt")
    expect(page.locator(".lines-field.dropping")).to_have_count(0)
    expect(notes(page)).to_have_text(f"One file at a time, please.{EXAMPLE}")
    drop(page, "a.txt")
    expect(notes(page)).to_have_text("2 of at most 2,048 texts")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(notes(page)).to_have_text(EXAMPLE)


def test_the_example_follows_the_language_until_the_user_types(visit: Visit) -> None:
    page = visit("embeddings")
    area = page.locator("textarea")
    page.get_by_role("combobox", name="Language").select_option("ja")
    expect(area).to_have_value(re.compile("^パスワード"))
    area.fill("mine")
    page.get_by_role("combobox", name="言語").select_option("en")
    expect(area).to_have_value("mine")
