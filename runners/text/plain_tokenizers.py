"""The tokenizers: text to ids without special tokens, and ids to tokens."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from errors import ModelUnavailableError
from runners.text.mecab import PartedWords
from runners.text.truncation import longest_start


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `start` and `stop` are its characters in the text, None for special tokens and with MeCab."""

    id: int
    text: str
    special: bool = False
    start: int | None = None
    stop: int | None = None


class PlainTokenizer(Protocol):
    """Encodes texts without special tokens, and probes from which the special tokens are read."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]: ...

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of ids of each text."""
        ...

    def tokens(self, text: str) -> list[Token]:
        """The tokens of a text, in order."""
        ...

    def special_token(self, token_id: int) -> Token:
        """The special token with this id."""
        ...

    def first(self, text: str, count: int) -> tuple[str, int]:
        """The part of the text that its first `count` tokens cover, and the number of tokens of the whole text."""
        ...

    def probe(self, first: str, second: str | None) -> list[int]:
        """Ids of one text or a pair, with special tokens."""
        ...

    def splits_at(self, text: str, place: int) -> bool:
        """Whether the text is split at this place before tokenisation, so that no token crosses it."""
        ...

    def second_segment(self) -> int:
        """Segment id of a pair's second text."""
        ...

    thread_safe: bool
    characters_at_once: int
    """Characters that take some tens of milliseconds and little memory."""
    odd_to_first: bool
    """Whether the first text of a pair gets the odd token if both are truncated; else the longer one does."""


class FastTokenizer:
    """`tokenizer.json` with the tokenizers library; thread-safe, as its settings never change."""

    thread_safe = True
    characters_at_once = 32_768
    odd_to_first = False

    def __init__(self, path: Path, prefixes: Sequence[str] = ()) -> None:
        """`prefixes` are tokens that it must not divide."""
        from tokenizers import AddedToken, Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises Exception itself
            raise ModelUnavailableError(f"{path.name} cannot be read: {error}.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.add_special_tokens([AddedToken(each, normalized=False) for each in prefixes])

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(found) for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def tokens(self, text: str) -> list[Token]:
        encoding = self._encoding(text)
        return [
            Token(token_id, text[start:stop], start=start, stop=stop)
            for token_id, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def special_token(self, token_id: int) -> Token:
        return Token(token_id, self._tokenizer.id_to_token(token_id) or "", special=True)

    def first(self, text: str, count: int) -> tuple[str, int]:
        encoding = self._encoding(text)
        if len(encoding) <= count:
            return text, len(encoding)
        _, stop = encoding.token_to_chars(count - 1)
        return text[:stop], len(encoding)

    def probe(self, first: str, second: str | None) -> list[int]:
        return list(self._tokenizer.encode(first, second).ids)

    def splits_at(self, text: str, place: int) -> bool:
        splitter, normalizer = self._tokenizer.pre_tokenizer, self._tokenizer.normalizer
        if splitter is None or (normalizer is not None and normalizer.normalize_str(text) != text):
            return False
        return any(start == place for _, (start, _) in splitter.pre_tokenize_str(text))

    def second_segment(self) -> int:
        return int(self._tokenizer.encode("a", "a").type_ids[-1])

    def _encoding(self, text: str) -> Any:
        """An Encoding with offsets. `encode` would hold the interpreter's lock; `encode_batch` does not."""
        (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        return encoding


class JapaneseTokenizer:
    """MeCab words, then WordPiece or characters. A lock guards MeCab, which is not thread-safe."""

    thread_safe = False
    characters_at_once = 8_192
    odd_to_first = True  # the rule of transformers' tokenizers in Python

    def __init__(self, folder: Path, prefixes: Sequence[str] = ()) -> None:
        """`prefixes` are tokens that it must not divide."""
        from transformers import AddedToken, BertJapaneseTokenizer

        self._tokenizer = BertJapaneseTokenizer.from_pretrained(folder)
        if prefixes:
            special = [AddedToken(each, normalized=False, special=True) for each in prefixes]
            self._tokenizer.add_special_tokens({"additional_special_tokens": special})
        self._tokenizer.word_tokenizer = PartedWords(self._tokenizer.word_tokenizer)
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        tokenizer = self._tokenizer
        with self._lock:
            return [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) for text in texts]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        with self._lock:
            return [len(self._tokenizer.tokenize(text)) for text in texts]

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
        """By bisection, as MeCab gives no offsets."""
        (total,) = self.lengths([text])
        if total <= count:
            return text, total
        return longest_start(text, count, lambda start: self.lengths([start])[0]), total

    def probe(self, first: str, second: str | None) -> list[int]:
        with self._lock:
            return list(self._tokenizer(first, second)["input_ids"])

    def splits_at(self, text: str, place: int) -> bool:  # noqa: ARG002  # the answer is the same for all
        return False  # MeCab considers the whole text

    def second_segment(self) -> int:
        return 1  # BERT's value, which the tokenizer class of transformers 5 omits
