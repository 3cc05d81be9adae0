"""README.ja.md and docs/ja/ match the English pages: the same sections, blocks, commands, names, links and rows.

A failing test names the page and the section, so that the author of a change knows which words to translate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

import pytest
import yaml

from scripts.readme.tables import descriptions
from scripts.render_readme import translated
from tests.unit.sources import ROOT

CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^]]*\]\(([^)]+)\)")
GENERATED = re.compile(r"^<!-- ([^/\n]+) -->\n.*?^<!-- /\1 -->$", re.DOTALL | re.MULTILINE)
POLITE = re.compile(r"(です|ます|ません|ました|ください)$")


@dataclass(frozen=True)
class Section:
    """What stands below one `##` heading, or above the first."""

    page: str
    title: str
    text: str

    @property
    def blocks(self) -> list[str]:
        """Its code, byte for byte."""
        return CODE.findall(self.text)

    @property
    def prose(self) -> str:
        """Its text without code and without generated tables."""
        return GENERATED.sub(r"<!-- \1 -->", CODE.sub("```", self.text))

    @property
    def rows(self) -> list[list[str]]:
        """Cells of the tables written by hand, heads and rules included."""
        return [cells(line) for line in self.prose.splitlines() if line.startswith("|")]

    @property
    def shape(self) -> list[tuple[str, int]]:
        """What follows what, and how often in a row: paragraphs, points of a list, rows, code, generated tables."""
        kinds = {"|": "row", "-": "point", "<": "generated table", "#": "heading"}
        lines = [line for line in self.prose.splitlines() if line]
        named = ["code" if line == "```" else kinds.get(line[0], "paragraph") for line in lines]
        return [(kind, len(list(same))) for kind, same in groupby(named)]


def sections(page: str) -> list[Section]:
    """A page in its order; headings are looked for outside of code."""
    text = (ROOT / page).read_text(encoding="utf-8")
    inside = [match.span() for match in CODE.finditer(text)]
    starts = [0] + [
        match.start()
        for match in re.finditer(r"^## ", text, re.MULTILINE)
        if not any(start < match.start() < end for start, end in inside)
    ]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [Section(page, part.split("\n", 1)[0].lstrip("# "), part) for part in parts]


def cells(line: str) -> list[str]:
    """A row's cells."""
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def spans(text: str) -> set[str]:
    """Commands, variables and paths between backticks."""
    return set(SPAN.findall(text))


def numbers(text: str) -> set[str]:
    """Figures of two digits or more: smaller ones may be words in English."""
    return set(re.findall(r"\d[\d.,:-]*\d", text))


def linked(section: Section) -> list[str]:
    """Files that a section links to, relative to the root; a Japanese page counts as its English one."""
    folder = (ROOT / section.page).parent
    paths = [(folder / link).resolve().relative_to(ROOT).as_posix() for link in LINK.findall(section.prose)]
    return sorted(path.replace("docs/ja/", "docs/").replace("README.ja.md", "README.md") for path in paths)


ENGLISH_ONLY = {"docs/deployment.md", "docs/embed_corpus.md"}
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
TRANSLATED = [page for page in PAGES if page not in ENGLISH_ONLY]
ENGLISH = {page: sections(page) for page in TRANSLATED}
JAPANESE = {page: sections(translated(page)) for page in TRANSLATED}
PAIRS = [pair for page in TRANSLATED for pair in zip(ENGLISH[page], JAPANESE[page], strict=False)]
each_section = pytest.mark.parametrize(
    ("english", "japanese"), PAIRS, ids=[f"{english.page}: {english.title}" for english, _ in PAIRS]
)


def test_every_japanese_page_has_an_english_one() -> None:
    theirs = {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "ja").glob("*.md")}
    assert theirs == {translated(page) for page in TRANSLATED} - {"README.ja.md"}


@pytest.mark.parametrize("page", TRANSLATED)
def test_both_have_the_same_number_of_sections(page: str) -> None:
    english, japanese = ENGLISH[page], JAPANESE[page]
    assert [section.title for section in japanese[len(english) :]] == []
    assert [section.title for section in english[len(japanese) :]] == []


def test_they_link_to_each_other() -> None:
    assert "\n日本語: [README.ja.md](README.ja.md)\n" in ENGLISH["README.md"][0].text
    assert "\nEnglish: [README.md](README.md)\n" in JAPANESE["README.md"][0].text


@each_section
def test_blocks_are_the_same_byte_for_byte(english: Section, japanese: Section) -> None:
    assert japanese.blocks == english.blocks


@each_section
def test_paragraphs_points_code_and_rows_follow_in_the_same_order(english: Section, japanese: Section) -> None:
    assert japanese.shape == english.shape


@each_section
def test_commands_variables_and_paths_are_the_same(english: Section, japanese: Section) -> None:
    assert spans(japanese.prose) == spans(english.prose)


@each_section
def test_links_are_the_same(english: Section, japanese: Section) -> None:
    assert linked(japanese) == linked(english)


@each_section
def test_figures_are_kept(english: Section, japanese: Section) -> None:
    """Japanese may have more: it writes 10 where English writes ten."""
    assert numbers(SPAN.sub("", english.prose)) - numbers(japanese.prose) == set()


@each_section
def test_rows_written_by_hand_say_the_same_of_the_same(english: Section, japanese: Section) -> None:
    for left, right in zip(english.rows, japanese.rows, strict=True):
        assert [spans(cell) for cell in right] == [spans(cell) for cell in left]
        assert [numbers(cell) for cell in right] == [numbers(cell) for cell in left]


@each_section
def test_generated_tables_stand_in_the_same_places(english: Section, japanese: Section) -> None:
    assert re.findall(r"^<!-- .* -->$", japanese.text, re.M) == re.findall(r"^<!-- .* -->$", english.text, re.M)


def test_paragraphs_and_points_are_polite_and_tables_are_plain() -> None:
    """です・ます in the text; the plain form in tables, as is usual."""
    found = [section for page in JAPANESE.values() for section in page]
    lines = [line for section in found for line in CODE.sub("", section.text).splitlines()]
    wrong = [
        (sentence, line)
        for line in lines
        for sentence in re.sub(r"\*\*[^*]+。\*\*|（[^）]*）", "", line).split("。")[:-1]
        if bool(POLITE.search(sentence)) == line.startswith("|")
    ]
    assert not wrong


def test_translations_keep_names_and_figures() -> None:
    translations = yaml.safe_load((ROOT / "docs" / "ja.yaml").read_text(encoding="utf-8"))
    lost = [
        (table, name, word)
        for table, names in descriptions().items()
        for name, english in names.items()
        for word in re.findall(r"[A-Za-z]+_\w+|[A-Z]{3,}|https?://[\w.:/]*\w|/\w+|\d+", english)
        if word not in translations[table][name]["ja"]
    ]
    assert not lost
