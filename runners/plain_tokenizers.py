"""The tokenizers themselves: text to ids without special tokens, and what each id stands for."""

from __future__ import annotations

import threading
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from errors import ModelUnavailableError


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text: characters `start` to `stop` of it, which are not known of special tokens and by MeCab."""

    id: int
    text: str
    special: bool = False
    start: int | None = None
    stop: int | None = None


class PlainTokenizer(Protocol):
    """Texts to ids without special tokens, and two probes from which the special tokens are read."""

    def encode(self, texts: SequenceOf[str]) -> list[list[int]]: ...

    def tokens(self, text: str) -> list[Token]:
        """The same with what each id stands for."""
        ...

    def special_token(self, token_id: int) -> Token:
        """What a special token is called."""
        ...

    def first(self, text: str, count: int) -> tuple[str, int]:
        """The part of the text that its first `count` tokens make, and how many tokens all of it has."""
        ...

    def probe(self, first: str, second: str | None) -> list[int]:
        """Ids of one text or a pair, with special tokens."""
        ...

    def second_segment(self) -> int:
        """Segment id of a pair's second text."""
        ...

    thread_safe: bool
    odd_to_first: bool
    """Which text of a pair keeps the odd token where both are cut: the first, or the longer one."""


class FastTokenizer:
    """`tokenizer.json` through the tokenizers library; safe to call from several threads, as nothing is set."""

    thread_safe = True
    odd_to_first = False

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelUnavailableError(f"{path.name} cannot be read: {error}.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, texts: SequenceOf[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def tokens(self, text: str) -> list[Token]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            Token(token_id, text[start:stop], start=start, stop=stop)
            for token_id, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def special_token(self, token_id: int) -> Token:
        return Token(token_id, self._tokenizer.id_to_token(token_id) or "", special=True)

    def first(self, text: str, count: int) -> tuple[str, int]:
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text[: offsets[count - 1][1]] if count < len(offsets) else text, len(offsets)

    def probe(self, first: str, second: str | None) -> list[int]:
        return list(self._tokenizer.encode(first, second).ids)

    def second_segment(self) -> int:
        return int(self._tokenizer.encode("a", "a").type_ids[-1])


class JapaneseTokenizer:
    """MeCab words, then WordPiece or characters. MeCab is not thread-safe: one lock around it."""

    thread_safe = False
    odd_to_first = True  # the rule of transformers' tokenizers in Python

    def __init__(self, folder: Path) -> None:
        from transformers import BertJapaneseTokenizer

        self._tokenizer = BertJapaneseTokenizer.from_pretrained(folder)
        self._lock = threading.Lock()

    def encode(self, texts: SequenceOf[str]) -> list[list[int]]:
        tokenizer = self._tokenizer
        with self._lock:
            return [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) for text in texts]

    def tokens(self, text: str) -> list[Token]:
        with self._lock:
            words = self._tokenizer.tokenize(text)
            return [
                Token(token_id, word)
                for token_id, word in zip(self._tokenizer.convert_tokens_to_ids(words), words, strict=True)
            ]

    def special_token(self, token_id: int) -> Token:
        return Token(token_id, str(self._tokenizer.convert_ids_to_tokens(token_id)), special=True)

    def first(self, text: str, count: int) -> tuple[str, int]:
        """By bisection, as MeCab's words do not say where they stood."""
        total = len(self.encode([text])[0])
        if total <= count:
            return text, total
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if len(self.encode([text[:middle]])[0]) <= count:
                low = middle
            else:
                high = middle - 1
        return text[:low], total

    def probe(self, first: str, second: str | None) -> list[int]:
        with self._lock:
            return list(self._tokenizer(first, second)["input_ids"])

    def second_segment(self) -> int:
        return 1  # BERT's; the tokenizer class of transformers 5 no longer says so (MODELS.md, section 1, point 2)
