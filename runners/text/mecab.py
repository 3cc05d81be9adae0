"""MeCab on texts of any length: it gets them in parts.

MeCab 0.996 ends the process (a segmentation fault) on texts of more than about 200,000 words, and takes time that
grows with the square of a run of one kind of letter: 10 s for 65,536 times "a", the interpreter's lock held. Ordinary
texts have neither, and are not divided.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

PART_CHARACTERS = 32_768
RUN_CHARACTERS = 2_048

_RUN = re.compile(
    rf"(?:(?![\u3041-\u309f\u3400-\u9fff])[^\W\d_]){{{RUN_CHARACTERS}}}|\d{{{RUN_CHARACTERS}}}|[^\w\s]{{{RUN_CHARACTERS}}}"
)
"""Letters, digits or other signs without end. Runs of hiragana and kanji cost MeCab nothing."""
_ENDS = ("\n。", " \t\u3000")
"""Where a part may end: behind a sentence, else behind a word."""


class PartedWords:
    """A word tokenizer of transformers whose every call gets a text of bounded length."""

    def __init__(self, words: Any) -> None:
        self._words = words

    def tokenize(self, text: str, **options: Any) -> list[str]:
        """The words of a text; divided after it is normalised, which may lengthen it."""
        if self._words.normalize_text:
            text = unicodedata.normalize("NFKC", text)
        return [word for part in parts(text) for word in self._words.tokenize(part, **options)]


def parts(text: str) -> Iterator[str]:
    """The text in parts: after a sentence where it is long, anywhere in a run."""
    start = 0
    for run in _RUN.finditer(text):
        yield from _sentences(text[start : run.end()])
        start = run.end()
    if start < len(text) or not text:
        yield from _sentences(text[start:])


def _sentences(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PART_CHARACTERS:
        end = _end(text, start)
        yield text[start:end]
        start = end
    yield text[start:]


def _end(text: str, start: int) -> int:
    """Where the part that begins at `start` ends."""
    low, high = start + PART_CHARACTERS // 2, start + PART_CHARACTERS
    for signs in _ENDS:
        if (place := max(text.rfind(sign, low, high) for sign in signs)) >= 0:
            return place + 1
    return high
