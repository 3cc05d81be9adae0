"""Pass texts to MeCab in parts of bounded length.

MeCab 0.996 crashes (segmentation fault) on texts of more than about 200,000 words. Its time grows with the square of a
run of one kind of character: 10 s for 65,536 times "a", while it holds the interpreter's lock. Ordinary texts have
neither, and are not divided.
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
"""Long runs of letters, digits or other signs. Runs of hiragana and kanji are not slow."""
_ENDS = ("\n。", " \t\u3000")
"""Characters after which a part may end: sentence ends, else word ends."""


class PartedWords:
    """A word tokenizer of transformers whose calls get texts of bounded length."""

    def __init__(self, words: Any) -> None:
        self._words = words

    def tokenize(self, text: str, **options: Any) -> list[str]:
        """The words of a text; it is divided after normalisation, which may lengthen it."""
        if self._words.normalize_text:
            text = unicodedata.normalize("NFKC", text)
        return [word for part in parts(text) for word in self._words.tokenize(part, **options)]


def parts(text: str) -> Iterator[str]:
    """Split a text: long ones after a sentence, long runs anywhere."""
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
    """The end of the part that begins at `start`."""
    low, high = start + PART_CHARACTERS // 2, start + PART_CHARACTERS
    for signs in _ENDS:
        if (place := max(text.rfind(sign, low, high) for sign in signs)) >= 0:
            return place + 1
    return high
