"""Text or pair to token ids: special tokens, truncation and counts.

A tokenizer object here is never told to pad or truncate: on this stack such settings are shared by every thread
that uses the object, and batches silently come back cut to another request's length (MODELS.md, section 1,
point 3). Special tokens and truncation are done below, on plain lists.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.catalog import ModelSpec
from models.facts import ModelFacts

_CHARS_PER_TOKEN = 64
"""No ordinary text has more characters a token; a longer text is first read in part."""
_MIN_CHARS = 65_536
_MARGIN_TOKENS = 64
"""Tokens next to a cut may differ from those of the whole text; more than these must lie beyond the limit."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One input of the model: token ids with special tokens, and segment ids where the model reads them."""

    input_ids: list[int]
    token_type_ids: list[int] | None = None

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class Truncation:
    """An input that was cut: its place in the request, the tokens that it had and the tokens that were kept."""

    index: int
    tokens: int
    kept: int
    exact: bool = True
    """False: the text was so long that `tokens` counts only a part of it."""


@dataclass(frozen=True)
class Template:
    """The special tokens around a text, or around the two texts of a pair."""

    single: tuple[list[int], list[int]]
    pair: tuple[list[int], list[int], list[int]]
    second_segment: int
    """Segment id of a pair's second text and of the special tokens after it; 0 where the model has one segment."""


class PlainTokenizer(Protocol):
    """Texts to ids without special tokens, and two probes from which the special tokens are read."""

    def encode(self, texts: SequenceOf[str]) -> list[list[int]]: ...

    def probe(self, first: str, second: str | None) -> list[int]:
        """Ids of one text or a pair, with special tokens."""
        ...


class FastTokenizer:
    """`tokenizer.json` through the tokenizers library; safe to call from several threads, as nothing is set."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, texts: SequenceOf[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def probe(self, first: str, second: str | None) -> list[int]:
        return list(self._tokenizer.encode(first, second).ids)


class JapaneseTokenizer:
    """MeCab words, then WordPiece or characters. MeCab is not thread-safe: one lock around it."""

    def __init__(self, folder: Path) -> None:
        from transformers import BertJapaneseTokenizer

        self._tokenizer = BertJapaneseTokenizer.from_pretrained(folder)
        self._lock = threading.Lock()

    def encode(self, texts: SequenceOf[str]) -> list[list[int]]:
        tokenizer = self._tokenizer
        with self._lock:
            return [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) for text in texts]

    def probe(self, first: str, second: str | None) -> list[int]:
        with self._lock:
            return list(self._tokenizer(first, second)["input_ids"])


class TextTokenizer:
    """Texts and pairs to sequences of at most `max_tokens` tokens."""

    def __init__(self, plain: PlainTokenizer, *, max_tokens: int, token_type_ids: bool, closing: list[int]) -> None:
        self._plain = plain
        self._segments = token_type_ids
        self._template = read_template(plain, segments=token_type_ids, closing=closing)
        self.max_tokens = max_tokens

    def encode_texts(self, texts: SequenceOf[str]) -> tuple[list[Sequence], list[Truncation]]:
        """One sequence a text, in order, and which texts were cut."""
        before, after = self._template.single
        room = self.max_tokens - len(before) - len(after)
        sequences, truncations = [], []
        for index, (ids, exact) in enumerate(self._ids(texts, room)):
            if len(ids) > room:
                truncations.append(Truncation(index, len(ids) + self.max_tokens - room, self.max_tokens, exact))
            full = [*before, *ids[:room], *after]
            sequences.append(Sequence(full, [0] * len(full) if self._segments else None))
        return sequences, truncations

    def encode_pairs(self, query: str, documents: SequenceOf[str]) -> tuple[list[Sequence], list[Truncation]]:
        """One sequence a document, each behind the query, which is tokenised once; and which pairs were cut."""
        before, between, after = self._template.pair
        specials = len(before) + len(between) + len(after)
        room = self.max_tokens - specials
        (query_ids, query_exact), *document_ids = self._ids([query, *documents], room)
        sequences, truncations = [], []
        for index, (ids, exact) in enumerate(document_ids):
            first, second = longest_first(len(query_ids), len(ids), room)
            tokens = len(query_ids) + len(ids)
            if first + second < tokens:
                truncations.append(Truncation(index, tokens + specials, self.max_tokens, exact and query_exact))
            head = [*before, *query_ids[:first], *between]
            tail = [*ids[:second], *after]
            segments = [0] * len(head) + [self._template.second_segment] * len(tail) if self._segments else None
            sequences.append(Sequence(head + tail, segments))
        return sequences, truncations

    def _ids(self, texts: SequenceOf[str], room: int) -> list[tuple[list[int], bool]]:
        """Ids of each text without special tokens, and whether they are of the whole text."""
        limit = max(_MIN_CHARS, room * _CHARS_PER_TOKEN)
        long = [index for index, text in enumerate(texts) if len(text) > limit]
        cut = list(texts)
        for index in long:
            cut[index] = texts[index][:limit]
        result = [(ids, True) for ids in self._plain.encode(cut)]
        for index in long:
            result[index] = self._long(texts[index], limit, room)
        return result

    def _long(self, text: str, limit: int, room: int) -> tuple[list[int], bool]:
        """Read a very long text in growing parts until more tokens than fit have been seen."""
        while limit < len(text):
            ids = self._plain.encode([text[:limit]])[0]
            if len(ids) > room + _MARGIN_TOKENS:
                return ids, False
            limit *= 4
        return self._plain.encode([text])[0], True


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Tokens to keep of each text of a pair so that both fit: the longer one is cut first.

    The rule of the tokenizers library (`TruncationStrategy::LongestFirst`), which the reference applies too.
    """
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short, long = room // 2, room // 2 + room % 2
    return (short, long) if first <= second else (long, short)


def read_template(plain: PlainTokenizer, *, segments: bool, closing: list[int]) -> Template:
    """Find the special tokens by encoding a probe with and without them.

    `closing` are ids that the tokenizer's own template leaves out and that belong at the end.
    """
    word = "a"
    ids = plain.encode([word])[0]
    before, after = _around(plain.probe(word, None), ids)
    both = plain.probe(word, word)
    first, rest = _around(both, ids)
    between, last = _around(rest, ids)
    return Template((before, after + closing), (first, between, last + closing), int(segments))


def _around(ids: list[int], inner: list[int]) -> tuple[list[int], list[int]]:
    """What stands before and after the first occurrence of `inner`."""
    for start in range(len(ids) - len(inner) + 1):
        if ids[start : start + len(inner)] == inner:
            return ids[:start], ids[start + len(inner) :]
    raise ValueError("the tokenizer's template changes the text's own tokens")


def load_tokenizer(folder: Path, spec: ModelSpec, facts: ModelFacts) -> TextTokenizer:
    """The tokenizer of a stored model."""
    plain: PlainTokenizer
    if spec.tokenizer.backend == "bert-japanese":
        plain = JapaneseTokenizer(folder)
    else:
        plain = FastTokenizer(folder / "tokenizer.json")
    return TextTokenizer(
        plain,
        max_tokens=facts.max_tokens,
        token_type_ids=facts.token_type_ids,
        closing=list(facts.closing_ids),
    )
