"""`python -m scripts.generate`: the generated parts of all files, and its messages about docs/ja.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.catalog import load_catalog
from scripts.generate import __main__ as generate
from scripts.generate.tables import tables
from scripts.generate.variables import compose_variables, kubernetes_variables
from settings import GROUPS, Settings, load_settings
from tests.unit.sources import ROOT

PAGES = [*generate.PAGES, *map(generate.translated, generate.PAGES)]
PORT = "Port to listen on."


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of all files that the command reads and writes."""
    for path in (*PAGES, *generate.VARIABLES, generate.TRANSLATIONS):
        copy = tmp_path / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_all_files_are_up_to_date() -> None:
    assert generate.main(["--check"]) == 0


def test_every_table_is_on_a_page() -> None:
    named = [name for names in generate.PAGES.values() for name in names]
    assert sorted(named) == sorted(tables(load_catalog(), str))


def test_every_mark_on_a_page_is_a_table_of_that_page() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        marked = re.findall(r"^<!-- ([^/].*?) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
        english = str(page.relative_to(ROOT)).replace("docs/ja/", "docs/").replace("README.ja.md", "README.md")
        if english != "docs/applications.md":  # tests/applications writes its table
            assert marked == generate.PAGES.get(english, []), page


@pytest.mark.parametrize("page", ["docs/settings.md", "docs/ja/settings.md"])
def test_every_default_is_a_valid_value_of_its_variable(page: str) -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (`.+?`|–) \| ", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower() for name, _ in rows} == set(Settings.model_fields)
    given = {name: shown.strip("`") for name, shown in rows if shown != "–"}
    assert load_settings(given) == Settings()


def test_every_group_starts_with_a_setting() -> None:
    assert [name for name in Settings.model_fields if name in GROUPS] == list(GROUPS)
    assert next(iter(GROUPS)) == next(iter(Settings.model_fields))


def test_compose_passes_on_every_setting_but_those_that_the_container_fixes() -> None:
    passed = re.findall(r"^      ([A-Z_]+):$", compose_variables(""), re.MULTILINE)
    fixed = {"HOST", "PORT", "RERANKER_MODELS_DIR"}
    assert passed == [name.upper() for name in Settings.model_fields if name.upper() not in fixed]


def test_the_config_map_lists_each_setting_once_and_no_secret_with_a_value() -> None:
    text = "data:\n  REQUEST_LOG: json\n"
    lines = kubernetes_variables(text).splitlines()
    assert lines[0] == "  # Keys of the Secret: HF_TOKEN, API_KEYS, COHERE_API_KEY"
    commented = dict(re.findall(r'^  # ([A-Z_]+): "(.*)"$', "\n".join(lines), re.MULTILINE))
    secret = {"HF_TOKEN", "API_KEYS", "COHERE_API_KEY"}
    fixed = {"HOST", "PORT"}
    assert set(commented) == {name.upper() for name in Settings.model_fields} - secret - fixed - {"REQUEST_LOG"}
    assert load_settings(commented) == Settings()


def test_files_that_are_out_of_date_are_named_and_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [*PAGES, *generate.VARIABLES]
    before = {file: (root / file).read_text(encoding="utf-8") for file in files}
    generated = re.compile(r"^(?:\| `(?:PORT|input|query|e5-base)` | +(?:# )?MAX_IMPORTS:).*\n", re.MULTILINE)
    stale = {file: generated.sub("", text, count=1) for file, text in before.items()}
    for file, text in stale.items():
        (root / file).write_text(text, encoding="utf-8")
    assert generate.main(["--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == sorted(f"{file} is out of date. Run: python -m scripts.generate" for file in files)
    assert stale == {file: (root / file).read_text(encoding="utf-8") for file in files}
    assert generate.main([]) == 0
    assert before == {file: (root / file).read_text(encoding="utf-8") for file in files}


def test_differences_from_the_english_texts_are_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a change of a text: the new one has no translation, and the old one is left over."""
    replace(root / generate.TRANSLATIONS, PORT, "Port to listen at.")
    replace(root / "docs/settings.md", PORT, "Port.")
    pages = {page: (root / page).read_text(encoding="utf-8") for page in PAGES if "ja" in page}
    assert generate.main([]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"docs/ja.yaml: add a translation of: {PORT}",
        "docs/ja.yaml: remove this text, which is no longer used: Port to listen at.",
    ]
    assert pages == {page: (root / page).read_text(encoding="utf-8") for page in pages}
    assert PORT in (root / "docs/settings.md").read_text(encoding="utf-8")  # English does not wait for its translation


@pytest.mark.parametrize("text", ["- a list", f"'{PORT}': [a]", "a: ["])
def test_an_unreadable_translation_file_is_reported(root: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (root / generate.TRANSLATIONS).write_text(text, encoding="utf-8")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("docs/ja.yaml cannot be read: ")


def test_a_page_without_the_marks_of_a_table_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"README\.md must have the marks <!-- settings --> and <!-- /settings --> once"
    ):
        generate.render("README.md", "<!-- settings -->\n", {"settings": ""})
