"""The tokenizers themselves: text to ids without special tokens, and what each id stands for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from errors import ModelUnavailableError
from runners.text.mecab import PartedWords


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

    def encode(self, texts: Sequence[str]) -> list[list[int]]: ...

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many ids each text has."""
        ...

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

    def splits_at(self, text: str, place: int) -> bool:
        """Whether no token can reach across a place in a text, because the text is split there before tokenising."""
        ...

    def second_segment(self) -> int:
        """Segment id of a pair's second text."""
        ...

    thread_safe: bool
    characters_at_once: int
    """How many take little time and memory: some tens of milliseconds."""
    odd_to_first: bool
    """Which text of a pair keeps the odd token where both are cut: the first, or the longer one."""


class FastTokenizer:
    """`tokenizer.json` through the tokenizers library; safe to call from several threads, as nothing is set."""

    thread_safe = True
    characters_at_once = 32_768
    odd_to_first = False

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelUnavailableError(f"{path.name} cannot be read: {error}.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

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
        """An Encoding with offsets. `encode` would hold the interpreter's lock until it is done; a batch does not."""
        (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        return encoding


class JapaneseTokenizer:
    """MeCab words, then WordPiece or characters. MeCab is not thread-safe: one lock around it."""

    thread_safe = False
    characters_at_once = 8_192
    odd_to_first = True  # the rule of transformers' tokenizers in Python

    def __init__(self, folder: Path) -> None:
        from transformers import BertJapaneseTokenizer

        self._tokenizer = BertJapaneseTokenizer.from_pretrained(folder)
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
        """By bisection, as MeCab's words do not say where they stood."""
        (total,) = self.lengths([text])
        if total <= count:
            return text, total
        low, high = 0, min(len(text), 2 * count)
        while high < len(text) and self.lengths([text[:high]])[0] <= count:
            low, high = high, min(len(text), 2 * high)
        while high - low > 1:
            middle = (low + high) // 2
            if self.lengths([text[:middle]])[0] <= count:
                low = middle
            else:
                high = middle
        return text[:low], total

    def probe(self, first: str, second: str | None) -> list[int]:
        with self._lock:
            return list(self._tokenizer(first, second)["input_ids"])

    def splits_at(self, text: str, place: int) -> bool:  # noqa: ARG002  # the answer is the same for all
        return False  # MeCab finds its words in the whole text

    def second_segment(self) -> int:
        return 1  # BERT's; the tokenizer class of transformers 5 no longer says so (MODELS.md, section 1, point 2)
