"""`python -m scripts.render_readme`: the tables of all pages, and its messages about docs/ja.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.catalog import load_catalog
from scripts import render_readme
from scripts.readme.language import ENGLISH, JAPANESE_WORDS, TranslationError, japanese
from scripts.readme.tables import descriptions, tables
from settings import Settings, load_settings
from tests.unit.sources import ROOT

PAGES = [*render_readme.PAGES, *map(render_readme.translated, render_readme.PAGES)]
PORT_IN_ENGLISH = "Port to listen on."


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of the pages and the translations, on which the script then works."""
    for path in (*PAGES, render_readme.TRANSLATIONS):
        copy = tmp_path / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(render_readme, "ROOT", tmp_path)
    return tmp_path


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def translated(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    loaded: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded


def write(file: Path, translations: Any) -> None:
    file.write_text(yaml.safe_dump(translations, allow_unicode=True, sort_keys=False), encoding="utf-8")


def test_all_pages_are_up_to_date() -> None:
    assert render_readme.main(["--check"]) == 0


def test_every_table_is_on_a_page() -> None:
    named = [name for names in render_readme.PAGES.values() for name in names]
    assert sorted(named) == sorted(tables(load_catalog(), ENGLISH))


def test_every_mark_on_a_page_is_a_table_of_that_page() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        marked = re.findall(r"^<!-- ([^/].*?) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
        english = str(page.relative_to(ROOT)).replace("docs/ja/", "docs/").replace("README.ja.md", "README.md")
        assert marked == render_readme.PAGES.get(english, []), page


@pytest.mark.parametrize("page", ["docs/settings.md", "docs/ja/settings.md"])
def test_every_default_is_a_value_that_its_variable_takes(page: str) -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (`.+?`|–) \| ", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower() for name, _ in rows} == set(Settings.model_fields)
    given = {name: shown.strip("`") for name, shown in rows if shown != "–"}
    assert load_settings(given) == Settings()


@pytest.mark.parametrize("page", PAGES)
def test_a_stale_table_is_named_and_written_anew(pages: Path, capsys: pytest.CaptureFixture[str], page: str) -> None:
    before = (pages / page).read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `(?:PORT|input|query|bge-reranker-base|e5-base)` .*\n", before, re.MULTILINE)[:1]
    (pages / page).write_text(before.replace(row, "| `stale` |\n"), encoding="utf-8")
    assert render_readme.main(["--check"]) == 1
    assert capsys.readouterr().err == f"{page}: its tables are out of date. Run: python -m scripts.render_readme\n"
    assert "| `stale` |" in (pages / page).read_text(encoding="utf-8")
    assert render_readme.main([]) == 0
    assert (pages / page).read_text(encoding="utf-8") == before


def test_a_missing_entry_is_named(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    translations = translated(pages / render_readme.TRANSLATIONS)
    del translations["settings"]["PORT"], translations["rerank fields"]["query"]
    write(pages / render_readme.TRANSLATIONS, translations)
    assert render_readme.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"docs/ja.yaml: settings: PORT is missing. Add it, with en: {PORT_IN_ENGLISH}",
        "docs/ja.yaml: rerank fields: query is missing. Add it, with en: What the documents are ranked by.",
    ]


def test_a_superfluous_entry_and_a_superfluous_table_are_named(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    translations = translated(pages / render_readme.TRANSLATIONS)
    translations["settings"]["COLOUR"] = {"en": "Paint.", "ja": "色。"}
    translations["answers"] = {}
    write(pages / render_readme.TRANSLATIONS, translations)
    assert render_readme.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "docs/ja.yaml: no table is called 'answers'. Remove it.",
        "docs/ja.yaml: settings: COLOUR is no longer in the code. Remove it.",
    ]


@pytest.mark.parametrize("arguments", [["--check"], []])
def test_changed_english_is_named_and_nothing_is_written(
    pages: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    replace(pages / render_readme.TRANSLATIONS, PORT_IN_ENGLISH, "Port to listen at.")
    before = (pages / "docs/ja/settings.md").read_text(encoding="utf-8")
    assert render_readme.main(arguments) == 1
    assert capsys.readouterr().err == (
        "docs/ja.yaml: settings: PORT was translated from other English. Check its ja, then change its en to: "
        f"{PORT_IN_ENGLISH}\n"
    )
    assert (pages / "docs/ja/settings.md").read_text(encoding="utf-8") == before


def test_the_english_page_does_not_wait_for_its_translation(pages: Path) -> None:
    replace(pages / render_readme.TRANSLATIONS, PORT_IN_ENGLISH, "Port to listen at.")
    before = (pages / "docs/settings.md").read_text(encoding="utf-8")
    replace(pages / "docs/settings.md", PORT_IN_ENGLISH, "Port.")
    assert render_readme.main([]) == 1
    assert (pages / "docs/settings.md").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    "text", ["- a list", "settings: {PORT: {en: Port.}}", "settings: {PORT: {en: a, ja: ''}}", "a: ["]
)
def test_a_file_of_another_shape_is_refused(pages: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (pages / render_readme.TRANSLATIONS).write_text(text, encoding="utf-8")
    assert render_readme.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("docs/ja.yaml cannot be read: ")


def test_a_word_without_japanese_is_named() -> None:
    language = japanese(ROOT / "docs" / "ja.yaml", descriptions())
    with pytest.raises(TranslationError, match="JAPANESE_WORDS lacks 'colour'"):
        language.word("colour")


def test_no_word_is_left_over() -> None:
    said: set[str] = set()

    def word(english: str) -> str:
        said.add(english)
        return english

    tables(load_catalog(), type(ENGLISH)(word=word, describe=ENGLISH.describe))
    assert said == set(JAPANESE_WORDS)


def test_japanese_tables_have_the_rows_of_the_english_ones() -> None:
    language = japanese(ROOT / "docs" / "ja.yaml", descriptions())
    english, translated_tables = tables(load_catalog(), ENGLISH), tables(load_catalog(), language)
    assert english.keys() == translated_tables.keys()
    for name, table in english.items():
        rows, ours = ([line.split(" | ") for line in text.splitlines()] for text in (table, translated_tables[name]))
        assert [(row[0], len(row)) for row in ours[1:]] == [(row[0], len(row)) for row in rows[1:]]


def test_a_page_without_a_tables_marks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"README\.md must have the marks of the table 'settings' once"):
        render_readme.render("README.md", "<!-- settings -->\n", {"settings": ""})
