"""README.ja.md and docs/ja/ match the English pages: the same sections, blocks, commands, names, links and rows.

A failing test names the page and the section to translate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

import pytest
import yaml

from scripts.generate.__main__ import TRANSLATIONS, translated
from tests.unit.sources import ROOT

CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^]]*\]\(([^)]+)\)")
GENERATED = re.compile(r"^<!-- ([^/\n]+) -->\n.*?^<!-- /\1 -->$", re.DOTALL | re.MULTILINE)
POLITE = re.compile(r"(です|ます|ません|ました|ください)$")


@dataclass(frozen=True)
class Section:
    """The text below one `##` heading, or above the first."""

    page: str
    title: str
    text: str

    @property
    def blocks(self) -> list[str]:
        """Its code blocks."""
        return CODE.findall(self.text)

    @property
    def prose(self) -> str:
        """Its text without code and without generated tables."""
        return GENERATED.sub(r"<!-- \1 -->", CODE.sub("```", self.text))

    @property
    def rows(self) -> list[list[str]]:
        """Cells of the handwritten tables, including heads and rules."""
        return [cells(line) for line in self.prose.splitlines() if line.startswith("|")]

    @property
    def shape(self) -> list[tuple[str, int]]:
        """The sequence of paragraphs, list items, rows, code blocks and generated tables, with run lengths."""
        kinds = {"|": "row", "-": "point", "<": "generated table", "#": "heading"}
        lines = [line for line in self.prose.splitlines() if line]
        named = ["code" if line == "```" else kinds.get(line[0], "paragraph") for line in lines]
        return [(kind, len(list(same))) for kind, same in groupby(named)]


def sections(page: str) -> list[Section]:
    """The sections of a page; headings within code do not count."""
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


ENGLISH_ONLY = {"docs/compare_models.md", "docs/deployment.md"}
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
TRANSLATED = [page for page in PAGES if page not in ENGLISH_ONLY]
ENGLISH = {page: sections(page) for page in TRANSLATED}
JAPANESE = {page: sections(translated(page)) for page in TRANSLATED}
PAIRS = [pair for page in TRANSLATED for pair in zip(ENGLISH[page], JAPANESE[page], strict=False)]


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


@pytest.mark.parametrize(
    ("english", "japanese"), PAIRS, ids=[f"{english.page}: {english.title}" for english, _ in PAIRS]
)
def test_sections_match(english: Section, japanese: Section) -> None:
    assert japanese.blocks == english.blocks
    assert japanese.shape == english.shape
    assert spans(japanese.prose) == spans(english.prose)
    assert linked(japanese) == linked(english)
    # Japanese may have more numbers: it writes 10 where English writes ten
    assert numbers(SPAN.sub("", english.prose)) - numbers(japanese.prose) == set()
    for left, right in zip(english.rows, japanese.rows, strict=True):
        assert [(spans(cell), numbers(cell)) for cell in right] == [(spans(cell), numbers(cell)) for cell in left]
    marks = re.compile(r"^<!-- .* -->$", re.MULTILINE)
    assert marks.findall(japanese.text) == marks.findall(english.text)


def test_paragraphs_and_points_are_polite_and_tables_are_plain() -> None:
    """Text uses です・ます; tables use the plain form, as is usual."""
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
    translations = yaml.safe_load((ROOT / TRANSLATIONS).read_text(encoding="utf-8"))
    lost = [
        (word, japanese)
        for english, japanese in translations.items()
        for word in re.findall(r"[A-Za-z]+_\w+|[A-Z]{3,}|https?://[\w.:/]*\w|/\w+|\d+", english)
        if word not in japanese
    ]
    assert not lost
