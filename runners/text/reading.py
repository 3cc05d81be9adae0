"""Tokenise texts of any length, reading no more of a text than necessary.

A text that is much longer than the model's limit is read in growing parts until it has more tokens than fit. A text
with few tokens for its length (blanks, for example) would be read completely, so at most `max_bytes` are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runners.contracts import Truncate
from runners.text.plain_tokenizers import PlainTokenizer

WHOLE_CHARACTERS = 65_536
"""Texts up to this length are read completely, so that their token count is exact."""
_CHARS_PER_TOKEN = 4
"""Estimate for ordinary text. If a part has too few tokens, one that is _GROWTH times as long is read."""
_GROWTH = 4
_TOKENS_PER_CHAR = 18
"""Maximum: normalisation expands U+FDFA to 18 characters; ordinary characters have 1 to 4 tokens."""
_MARGIN_TOKENS = 64
"""Tokens next to a cut may differ from those of the whole text, so more than this many must exceed the limit."""


@dataclass(frozen=True, slots=True)
class Read:
    """Ids of a text without special tokens; `whole` is false if only a part was read."""

    ids: list[int]
    whole: bool = True


class Reader:
    """Reads texts with one tokenizer, at most `max_bytes` of UTF-8 of each."""

    def __init__(self, plain: PlainTokenizer, max_bytes: int) -> None:
        self._plain = plain
        self._max_bytes = max_bytes

    def read(
        self, texts: Sequence[str], room: int, truncate: Truncate, *, before: str = "", after: str = ""
    ) -> list[Read]:
        """Ids of `before` + text + `after` for each text; of longer texts, enough to truncate them to `room` tokens.

        A partly read text is read from its end if `truncate` is "start", else from its start.
        """
        limit = self._limit(room)
        long = [index for index, text in enumerate(texts) if len(text) > limit or self.exceeds(text)]
        framed = [f"{before}{text}{after}" for text in texts] if before or after else list(texts)
        for index in long:
            framed[index] = ""
        result = [Read(ids) for ids in self._plain.encode(framed)]
        for index in long:
            result[index] = self._long(texts[index], limit, room, truncate, before=before, after=after)
        return result

    def exceeds(self, text: str) -> bool:
        """Whether a text has more than `max_bytes` bytes."""
        return _exceeds(text, self._max_bytes)

    def first(self, text: str, tokens: int) -> tuple[str, int, bool]:
        """The first `tokens` tokens as text, the number of tokens read, and whether those are all."""
        readable = readable_part(text, self._max_bytes, "end")
        limit = self._limit(tokens)
        while limit < len(readable):
            start, count = self._plain.first(readable[:limit], tokens)
            if count > tokens + _MARGIN_TOKENS:
                return start, count, False
            limit *= _GROWTH
        if len(readable) * _TOKENS_PER_CHAR < tokens:
            return readable, 0, len(readable) == len(text)
        start, count = self._plain.first(readable, tokens)
        return start, count, len(readable) == len(text)

    def _limit(self, tokens: int) -> int:
        """Number of characters to read first."""
        return max(WHOLE_CHARACTERS, tokens * _CHARS_PER_TOKEN)

    def _long(self, text: str, limit: int, room: int, truncate: Truncate, *, before: str, after: str) -> Read:
        """Read a very long text in growing parts until it has more tokens than fit."""
        readable = readable_part(text, self._max_bytes, truncate)
        while limit < len(readable):
            part = readable[-limit:] if truncate == "start" else readable[:limit]
            (ids,) = self._plain.encode([f"{before}{part}{after}"])
            if len(ids) > room + _MARGIN_TOKENS:
                return Read(ids, whole=False)
            limit *= _GROWTH
        (ids,) = self._plain.encode([f"{before}{readable}{after}"])
        return Read(ids, whole=len(readable) == len(text))


def readable_part(text: str, max_bytes: int, truncate: Truncate) -> str:
    """The part of a text within `max_bytes`: its end if `truncate` is "start", else its start."""
    if not _exceeds(text, max_bytes):
        return text
    encoded = text.encode()
    part = encoded[-max_bytes:] if truncate == "start" else encoded[:max_bytes]
    return part.decode(errors="ignore")  # a divided character at the cut


def _exceeds(text: str, max_bytes: int) -> bool:
    if len(text) * 4 <= max_bytes:
        return False
    return (len(text) if text.isascii() else len(text.encode())) > max_bytes
