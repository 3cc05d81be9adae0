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

from errors import ModelUnavailableError
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
    unpooled: int = 0
    """Leading tokens that have no part in pooling (an instruction, for models that leave it out)."""

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
    """Segment id of a pair's second text and of the special tokens after it."""


@dataclass(frozen=True)
class Body:
    """The words around an instruction, a query and a document."""

    parts: tuple[str, str, str, str]

    @classmethod
    def parse(cls, text: str) -> Body:
        """`...{instruction}...{query}...{document}...` to the four parts between."""
        first, rest = text.split("{instruction}")
        second, rest = rest.split("{query}")
        third, fourth = rest.split("{document}")
        return cls((first, second, third, fourth))

    def fill(self, instruction: str, query: str, document: str) -> str:
        """The whole text; braces in what a user sent mean nothing."""
        first, second, third, fourth = self.parts
        return f"{first}{instruction}{second}{query}{third}{document}{fourth}"


@dataclass(frozen=True)
class Rules:
    """What varies between models in how a text becomes a sequence."""

    max_tokens: int
    token_type_ids: bool = False
    appended: tuple[int, ...] = ()
    """Ids that count as the text's own end: truncation may cut them off."""
    mask_prompt: bool = False
    """Leave the prompt's tokens out of pooling."""
    body: Body | None = None
    """For a model that is asked in words: how a pair becomes one text."""


class PlainTokenizer(Protocol):
    """Texts to ids without special tokens, and two probes from which the special tokens are read."""

    def encode(self, texts: SequenceOf[str]) -> list[list[int]]: ...

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

    def probe(self, first: str, second: str | None) -> list[int]:
        with self._lock:
            return list(self._tokenizer(first, second)["input_ids"])

    def second_segment(self) -> int:
        return 1  # BERT's; the tokenizer class of transformers 5 no longer says so (MODELS.md, section 1, point 2)


class TextTokenizer:
    """Texts and pairs to sequences of at most `max_tokens` tokens."""

    def __init__(self, plain: PlainTokenizer, template: Template, rules: Rules) -> None:
        self._plain = plain
        self._template = template
        self._rules = rules
        self._segments = rules.token_type_ids
        self.max_tokens = rules.max_tokens
        self.thread_safe = plain.thread_safe

    def encode_texts(self, texts: SequenceOf[str], prompt: str = "") -> tuple[list[Sequence], list[Truncation]]:
        """One sequence for `prompt` and each text, in order, and which texts were cut."""
        before, after = self._template.single
        room = self.max_tokens - len(before) - len(after)
        unpooled = len(self._plain.encode([prompt])[0]) if prompt and self._rules.mask_prompt else 0
        sequences, truncations = [], []
        for index, (plain_ids, exact) in enumerate(self._ids([prompt + text for text in texts], room)):
            ids = [*plain_ids, *self._rules.appended]
            if len(ids) > room:
                truncations.append(Truncation(index, len(ids) + self.max_tokens - room, self.max_tokens, exact))
            full = [*before, *ids[:room], *after]
            sequences.append(Sequence(full, [0] * len(full) if self._segments else None, unpooled))
        return sequences, truncations

    def encode_pairs(
        self, query: str, documents: SequenceOf[str], instruction: str = ""
    ) -> tuple[list[Sequence], list[Truncation]]:
        """One sequence a document, each behind the query, which is tokenised once; and which pairs were cut.

        A model that is asked in words gets each pair as one text, with `instruction` in it.
        """
        if self._rules.body is not None:
            return self.encode_texts([self._rules.body.fill(instruction, query, text) for text in documents])
        before, between, after = self._template.pair
        specials = len(before) + len(between) + len(after)
        room = self.max_tokens - specials
        (query_ids, query_exact), *document_ids = self._ids([query, *documents], room)
        sequences, truncations = [], []
        for index, (ids, exact) in enumerate(document_ids):
            first, second = longest_first(len(query_ids), len(ids), room, odd_to_first=self._plain.odd_to_first)
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


def longest_first(first: int, second: int, room: int, *, odd_to_first: bool = False) -> tuple[int, int]:
    """Tokens to keep of each text of a pair so that both fit: the longer one is cut first.

    The rule of the tokenizers library (`TruncationStrategy::LongestFirst`); with `odd_to_first` that of the
    tokenizers in Python, which differs by one token where both texts are cut.
    """
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        if odd_to_first:
            return room - room // 2, room // 2
        short, long = room // 2, room // 2 + room % 2
    return (short, long) if first <= second else (long, short)


def read_template(plain: PlainTokenizer, *, closing: SequenceOf[int]) -> Template:
    """Find the special tokens by encoding a probe with and without them.

    `closing` are ids that the tokenizer's own template leaves out and that belong at the end.
    """
    word = "a"
    ids = plain.encode([word])[0]
    before, after = _around(plain.probe(word, None), ids)
    both = plain.probe(word, word)
    first, rest = _around(both, ids)
    between, last = _around(rest, ids)
    return Template((before, [*after, *closing]), (first, between, [*last, *closing]), plain.second_segment())


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
    in_text = spec.tokenizer.append_eos == "text"
    rules = Rules(
        max_tokens=facts.max_tokens,
        token_type_ids=facts.token_type_ids,
        appended=facts.closing_ids if in_text else (),
        mask_prompt=facts.mask_prompt,
        body=Body.parse(spec.scoring.body) if spec.scoring else None,
    )
    if spec.scoring:
        prefix, suffix = plain.encode([spec.scoring.prefix, spec.scoring.suffix])
        template = Template((prefix, suffix), ([], [], []), 0)
    else:
        closing = () if in_text else facts.closing_ids
        template = read_template(plain, closing=closing)
    return TextTokenizer(plain, template, rules)
