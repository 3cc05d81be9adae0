"""Encode query-document pairs, for cross-encoders and for prompted models.

The query is tokenised once for all documents. Truncation never removes a whole text of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from errors import InvalidRequestError
from runners.contracts import QUERY, Encodings, TokenSequence, Truncate, TruncatedInput
from runners.text.plain_tokenizers import PlainTokenizer
from runners.text.reading import Read, Reader
from runners.text.templates import PairPrompt, Template
from runners.text.truncation import cut_by_model, longest_first, truncate_ids

MIN_TEXT_TOKENS = 8
"""Minimum number of tokens for query and document; an instruction that leaves less is rejected."""
_JOINT_TOKENS = 64
"""A pair that exceeds the limit by at most this many tokens, if tokenised in parts, may still fit as one text."""

Words = tuple[list[int], list[int]]
"""Ids of the prompt before and after a text."""


class Pairs(Protocol):
    """One query, to be encoded with any number of documents."""

    def encode(self, documents: Sequence[str]) -> Encodings:
        """Encode one sequence per document; also return the truncated pairs."""
        ...


class CrossPairs:
    """Pairs with special tokens around and between the two texts, cut longest first."""

    def __init__(
        self,
        plain: PlainTokenizer,
        reader: Reader,
        template: Template,
        *,
        max_tokens: int,
        segments: bool,
        query: str,
        truncate: Truncate,
    ) -> None:
        self._plain = plain
        self._reader = reader
        self._template = template
        self._max_tokens = max_tokens
        self._segments = segments
        self._query = query
        self._truncate = truncate
        self._specials = sum(map(len, template.pair))

    @cached_property
    def _read_query(self) -> Read:
        (read,) = self._reader.read([self._query], self._max_tokens - self._specials, self._truncate)
        return read

    def encode(self, documents: Sequence[str]) -> Encodings:
        """Encode one sequence per document; also return the truncated pairs."""
        query = self._read_query
        read = self._reader.read(documents, self._max_tokens - self._specials, self._truncate)
        sequences: list[TokenSequence] = []
        truncated: list[TruncatedInput] = []
        for index, document in enumerate(read):
            first, second = self._share(len(query.ids), len(document.ids))
            tokens = len(query.ids) + len(document.ids) + self._specials
            truncated += cut_by_model(index, tokens, self._max_tokens, whole=query.whole and document.whole)
            sequences.append(
                self._sequence(
                    truncate_ids(query.ids, first, self._truncate), truncate_ids(document.ids, second, self._truncate)
                )
            )
        return sequences, truncated

    def _share(self, first: int, second: int) -> tuple[int, int]:
        return longest_first(first, second, self._max_tokens - self._specials, odd_to_first=self._plain.odd_to_first)

    def _sequence(self, query: list[int], document: list[int]) -> TokenSequence:
        before, between, after = self._template.pair
        head, tail = [*before, *query, *between], [*document, *after]
        segments = [0] * len(head) + [self._template.second_segment] * len(tail) if self._segments else None
        return TokenSequence(head + tail, segments)


@dataclass(frozen=True)
class Framed:
    """Ids of a text inside a prompt. `ids[start:stop]` belong to the text, partly or completely."""

    ids: list[int]
    start: int
    stop: int
    whole: bool

    @classmethod
    def find(cls, read: Read, before: list[int], after: list[int]) -> Framed:
        """Find the text in ids that were tokenised with the prompt, given the ids of the prompt alone."""
        ids = read.ids
        start = _common_prefix(ids, before)
        stop = len(ids) - min(_common_prefix(ids[::-1], after[::-1]), len(ids) - start)
        return cls(ids, start, stop, read.whole)

    @classmethod
    def build(cls, read: Read, before: list[int], after: list[int]) -> Framed:
        """Combine a text, tokenised alone, with the prompt."""
        return cls([*before, *read.ids, *after], len(before), len(before) + len(read.ids), read.whole)

    def __len__(self) -> int:
        """Tokens of the text."""
        return self.stop - self.start

    def cut(self, count: int, truncate: Truncate, before: list[int], after: list[int]) -> list[int]:
        """Truncate the text to `count` tokens, keeping the whole prompt.

        If the prompt shares a token with the text (a blank, for example), `before` or `after` restores the prompt.
        """
        if count >= len(self):
            return self.ids
        if truncate == "start":
            return [*before, *self.ids[self.stop - count :]]
        return [*self.ids[: self.start + count], *after]

    def fit(self, room: int, truncate: Truncate, before: list[int], after: list[int]) -> list[int]:
        """Truncate the text so that it and the prompt have at most `room` tokens."""
        words = len(before) + len(self.ids) - self.stop if truncate == "start" else self.start + len(after)
        return self.ids if len(self.ids) <= room else self.cut(room - words, truncate, before, after)


def _common_prefix(first: list[int], second: list[int]) -> int:
    """The length of the common prefix of two lists."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


@dataclass(frozen=True)
class Joint:
    """The prompt between query and document, divided at a place that no token crosses."""

    close: str
    open: str
    ids: tuple[int, ...] = ()
    """Ids of a text between the two parts, for prompts whose parts are tokenised apart from each other."""

    @classmethod
    def apart(cls, plain: PlainTokenizer, body: PairPrompt, separator: str) -> Joint:
        """Divide the prompt at a separator that is tokenised alone."""
        close, _, opening = body.parts[2].partition(separator)
        return cls(close, opening, tuple(plain.encode([separator])[0]))

    @classmethod
    def find(cls, plain: PlainTokenizer, body: PairPrompt) -> Joint | None:
        """Find the place; None if there is none.

        With any text on either side, the tokenizer must split there before tokenisation, and the ids of the two parts
        must be those of the whole.
        """
        _, ahead, words, _ = body.parts
        places = sorted(range(1, len(words)), key=lambda place: words[place - 1] != "\n")  # line breaks first
        joints = (cls(words[:place], words[place:]) for place in places)
        return next((joint for joint in joints if joint._splits(plain, ahead) and joint._holds(plain, ahead)), None)

    def _splits(self, plain: PlainTokenizer, ahead: str) -> bool:
        place = len(ahead) + 1 + len(self.close)
        texts = [(left, right) for left in _ASCII for right in _ASCII]
        return all(plain.splits_at(f"{ahead}{left}{self.close}{self.open}{right}", place) for left, right in texts)

    def _holds(self, plain: PlainTokenizer, ahead: str) -> bool:
        sides = [*_KINDS, *_WORDS]
        texts = [(left, right) for left in sides for right in sides]
        texts += [pair for two in _TWO for one in ("a", " ") for pair in ((two, one), (one, two))]
        heads = plain.encode([f"{ahead}{left}{self.close}" for left, _ in texts])
        tails = plain.encode([f"{self.open}{right}" for _, right in texts])
        whole = plain.encode([f"{ahead}{left}{self.close}{self.open}{right}" for left, right in texts])
        return all(ids == [*head, *tail] for ids, head, tail in zip(whole, heads, tails, strict=True))


_KINDS = [
    *(
        "a",
        "Z",
        "é",
        "日",
        "ん",
        "1",
        "٣",
        " ",
        "\t",
        "\n",
        "\r",
        "\u00a0",
        "\u3000",
        "!",
        "'",
        "’",
        "<",
        ">",
        "-",
        "_",
    ),
    *("/", "\u0301", "\u0338", "\u200d", "🙂", "\x00", "ﬁ", "가"),
]
"""One character of each kind that tokenizers distinguish."""
_WORDS = ["", "<|im_end|>", "</s>", "[SEP]"]
_TWO = [one + other for one in _KINDS for other in _KINDS]
_ASCII = "aZ1?<"


class PromptedPairs:
    """Pairs of a model that reads an instruction, the query and a document as one text.

    The prompt is never truncated. A pair that fits has the ids of the whole text. In a pair that does not, the query
    gets at most half of the available tokens, and the document the rest.
    """

    def __init__(
        self,
        plain: PlainTokenizer,
        reader: Reader,
        template: Template,
        *,
        body: PairPrompt,
        joint: Joint | None,
        max_tokens: int,
        query: str,
        instruction: str,
        truncate: Truncate,
    ) -> None:
        self._plain = plain
        self._reader = reader
        self._before, self._after = template.single
        self._max_tokens = max_tokens
        self._room = max_tokens - len(self._before) - len(self._after)
        self._query = query
        self._truncate = truncate
        self._joint = joint
        _, _, between, last = body.parts
        close, opening = (joint.close, joint.open) if joint else (between, "")
        self._around_query = (body.before_query(instruction), close)
        self._around_document = (opening, last)

    @cached_property
    def _words(self) -> tuple[Words, Words]:
        """Ids of the prompt around the query and around the document, each tokenised alone."""
        first, close, opening, last = self._plain.encode([*self._around_query, *self._around_document])
        return (first, [*close, *self._separator]), (opening, last)

    @property
    def _separator(self) -> tuple[int, ...]:
        return self._joint.ids if self._joint else ()

    @cached_property
    def _share(self) -> int:
        """Number of tokens to keep of the query of a pair that is too long."""
        room = self._room - sum(len(ids) for words in self._words for ids in words)
        if room < MIN_TEXT_TOKENS:
            raise InvalidRequestError(
                f"instruction is too long: the model's limit of {self._max_tokens} tokens leaves no room for the query "
                "and the documents. Send a shorter instruction.",
                param="instruction",
            )
        return room // 2

    @cached_property
    def _head(self) -> Framed:
        """The prompt up to the end of the query, and the separator."""
        first, after = self._words[0]
        words = (first, after[: len(after) - len(self._separator)])
        (framed,) = self._framed([self._query], self._around_query, words)
        return replace(framed, ids=[*framed.ids, *self._separator])

    def encode(self, documents: Sequence[str]) -> Encodings:
        """Encode one sequence per document; also return the truncated pairs."""
        sequences: list[TokenSequence] = []
        truncated: list[TruncatedInput] = []
        framed = self._framed(documents, self._around_document, self._words[1])
        for index, (text, document) in enumerate(zip(documents, framed, strict=True)):
            ids, cuts = self._pair(text, document, index)
            sequences.append(TokenSequence([*self._before, *ids, *self._after]))
            truncated += cuts
        return sequences, truncated

    def _framed(self, texts: Sequence[str], around: tuple[str, str], words: Words) -> list[Framed]:
        if self._joint is None:
            return [Framed.build(read, *words) for read in self._reader.read(texts, self._room, self._truncate)]
        before, after = around
        read = self._reader.read(texts, self._room, self._truncate, before=before, after=after)
        return [Framed.find(each, *words) for each in read]

    def _pair(self, text: str, document: Framed, index: int) -> tuple[list[int], list[TruncatedInput]]:
        head = self._head
        whole = head.whole and document.whole
        ids = [*head.ids, *document.ids] if len(head.ids) + len(document.ids) <= self._room + _JOINT_TOKENS else []
        if ids and whole and self._joint is None:
            (ids,) = self._plain.encode([self._in_words(text)])
        if ids and len(ids) <= self._room:
            tokens = len(self._before) + len(ids) + len(self._after)
            return ids, cut_by_model(index, tokens, self._max_tokens, whole=whole)
        return self._cut(document, index)

    def _cut(self, document: Framed, index: int) -> tuple[list[int], list[TruncatedInput]]:
        head, (around_query, around_document) = self._head, self._words
        tokens = self._max_tokens - self._room + len(head.ids) + len(document.ids)
        cuts = [TruncatedInput(index, tokens, self._max_tokens, head.whole and document.whole)]
        if len(head) > self._share:
            cuts.append(TruncatedInput(QUERY, len(head), self._share, head.whole, "query"))
        kept = head.cut(self._share, self._truncate, *around_query)
        return [*kept, *document.fit(self._room - len(kept), self._truncate, *around_document)], cuts

    def _in_words(self, text: str) -> str:
        (first, close), (opening, last) = self._around_query, self._around_document
        return f"{first}{self._query}{close}{opening}{text}{last}"
