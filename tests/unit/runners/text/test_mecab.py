"""MeCab gets long texts in parts: it neither ends the process nor takes quadratic time, and finds the same words."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.text.mecab import PART_CHARACTERS, RUN_CHARACTERS, parts
from tests.tiny import corpus
from tests.unit.runners.text.conftest import Japanese

SENTENCES = "".join(corpus.JAPANESE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        SENTENCES,
        "東京都" * 10_000,
        "ひらがな" * 5_000,
        "word " * 6_000,
        "x" * (RUN_CHARACTERS - 1),
        "aGVsbG8gd29ybGQ1" * 1_000,  # base64: letters and digits in turn
    ],
    ids=lambda text: f"{text[:8]!r} {len(text)}",
)
def test_an_ordinary_text_is_one_part(text: str) -> None:
    assert list(parts(text)) == [text]


@pytest.mark.parametrize("letter", ["a", "Ж", "ア", "1", "!", "🙂", "ー", "α"])
def test_a_run_is_divided(letter: str) -> None:
    text = "これは" + letter * 10_000 + "です"
    found = list(parts(text))
    assert "".join(found) == text
    assert max(map(len, found)) <= RUN_CHARACTERS + 5


def test_a_long_text_is_divided_behind_its_sentences() -> None:
    text = SENTENCES * 200
    found = list(parts(text))
    assert "".join(found) == text
    assert len(found) > 3
    assert all(PART_CHARACTERS // 2 <= len(part) <= PART_CHARACTERS for part in found[:-1])
    assert all(part.endswith("。") for part in found)


def test_or_behind_its_words() -> None:
    found = list(parts("some words " * 10_000))
    assert len(found) > 3
    assert all(part.endswith(" ") for part in found)


@given(text=st.text("aア1!漢あ。\n ", max_size=40), times=st.integers(1, 4_000))
def test_parts_make_the_text_again(text: str, times: int) -> None:
    found = list(parts(text * times))
    assert "".join(found) == text * times
    assert max(map(len, found)) <= PART_CHARACTERS


def test_words_of_a_divided_text_are_those_of_transformers(japanese: Japanese) -> None:
    text = SENTENCES * (1 + 100_000 // len(SENTENCES))
    assert japanese.plain.encode([text]) == [japanese.ids(text)]


@pytest.mark.parametrize("text", ["a1" * 110_000, "x" * 66_000, "\ufdfa" * 40_000], ids=["words", "a run", "expanded"])
def test_texts_that_end_the_process_or_take_ages_do_neither(japanese: Japanese, text: str) -> None:
    """By transformers: a segmentation fault, 10 s, and a segmentation fault, as NFKC makes 720,000 letters of it."""
    (ids,) = japanese.plain.encode([text])
    assert len(ids) > 30_000
    assert len(unicodedata.normalize("NFKC", "\ufdfa")) == 18
