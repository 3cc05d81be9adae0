"""Text or pair to token ids: special tokens, truncation and counts.

A tokenizer object here is never told to pad or truncate: on this stack such settings are shared by every thread
that uses the object, and batches silently come back cut to another request's length (MODELS.md, section 1,
point 3). Special tokens and truncation are done below, on plain lists.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errors import InvalidRequestError
from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.plain_tokenizers import FastTokenizer, JapaneseTokenizer, PlainTokenizer, Token
from runners.templates import Body, Template, read_template

Truncate = Literal["end", "start", "refuse"]
"""What happens to an input that is too long: its end or its start is cut off, or the request is refused."""

_CHARS_PER_TOKEN = 64
"""No ordinary text has more characters a token; a longer text is first read in part."""
_MIN_CHARS = 65_536
_TOKENS_PER_CHAR = 18
"""The longest letter is U+FDFA, which normalisation spells out in 18; ordinary ones are 1 to 4 tokens."""
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
    by: Literal["model", "request"] = "model"
    """Whose limit it was: the model's, or one that the request asked for."""


@dataclass(frozen=True)
class Rules:
    """What varies between models in how a text becomes a sequence."""

    max_tokens: int
    vocabulary: int
    token_type_ids: bool = False
    appended: tuple[int, ...] = ()
    """Ids that count as the text's own end: truncation may cut them off."""
    mask_prompt: bool = False
    """Leave the prompt's tokens out of pooling."""
    body: Body | None = None
    """For a model that is asked in words: how a pair becomes one text."""


class TextTokenizer:
    """Texts and pairs to sequences of at most `max_tokens` tokens."""

    def __init__(self, plain: PlainTokenizer, template: Template, rules: Rules) -> None:
        self._plain = plain
        self._template = template
        self._rules = rules
        self._segments = rules.token_type_ids
        self.max_tokens = rules.max_tokens
        self.thread_safe = plain.thread_safe

    @property
    def special_tokens(self) -> int:
        """How many special tokens stand around one text."""
        before, after = self._template.single
        return len(before) + len(after)

    def encode_texts(
        self, texts: SequenceOf[str], prompt: str = "", truncate: Truncate = "end"
    ) -> tuple[list[Sequence], list[Truncation]]:
        """One sequence for `prompt` and each text, in order, and which texts were cut."""
        room = self.max_tokens - self.special_tokens
        read = self._ids([prompt + text for text in texts], room, truncate)
        return self._finish([([*ids, *self._rules.appended], exact) for ids, exact in read], prompt, truncate)

    def encode_ids(
        self, inputs: SequenceOf[SequenceOf[int]], prompt: str = "", truncate: Truncate = "end"
    ) -> tuple[list[Sequence], list[Truncation]]:
        """The same for texts that the caller has tokenised with this model's own vocabulary, without special tokens."""
        before = self._plain.encode([prompt])[0] if prompt else []
        return self._finish([([*before, *ids, *self._rules.appended], True) for ids in inputs], prompt, truncate)

    def refuse_unknown(self, inputs: SequenceOf[SequenceOf[int]], field: str) -> None:
        """InvalidRequestError that names, by `field` and its index, an input with an id outside the vocabulary."""
        highest = self._rules.vocabulary - 1
        for index, ids in enumerate(inputs):
            if not all(0 <= token_id <= highest for token_id in ids):
                name = f"{field}.{index}"
                raise InvalidRequestError(
                    f"{name} has a token id outside this model's vocabulary, which is 0 to {highest}.", param=name
                )

    def _finish(
        self, inputs: SequenceOf[tuple[list[int], bool]], prompt: str, truncate: Truncate
    ) -> tuple[list[Sequence], list[Truncation]]:
        """Ids without special tokens to whole sequences, cut to what fits."""
        before, after = self._template.single
        room = self.max_tokens - self.special_tokens
        instruction = len(self._plain.encode([prompt])[0]) if prompt and self._rules.mask_prompt else 0
        sequences, truncations = [], []
        for index, (ids, exact) in enumerate(inputs):
            over = len(ids) - room
            if over > 0:
                truncations.append(Truncation(index, len(ids) + self.special_tokens, self.max_tokens, exact))
            kept = _keep(ids, room, truncate)
            unpooled = max(0, instruction - over) if truncate == "start" and over > 0 else instruction
            full = [*before, *kept, *after]
            sequences.append(Sequence(full, [0] * len(full) if self._segments else None, unpooled))
        return sequences, truncations

    def encode_pairs(
        self, query: str, documents: SequenceOf[str], instruction: str = "", truncate: Truncate = "end"
    ) -> tuple[list[Sequence], list[Truncation]]:
        """One sequence a document, each behind the query, which is tokenised once; and which pairs were cut.

        A model that is asked in words gets each pair as one text, with `instruction` in it.
        """
        if self._rules.body is not None:
            texts = [self._rules.body.fill(instruction, query, text) for text in documents]
            return self.encode_texts(texts, truncate=truncate)
        before, between, after = self._template.pair
        specials = len(before) + len(between) + len(after)
        room = self.max_tokens - specials
        (query_ids, query_exact), *document_ids = self._ids([query, *documents], room, truncate)
        sequences, truncations = [], []
        for index, (ids, exact) in enumerate(document_ids):
            first, second = longest_first(len(query_ids), len(ids), room, odd_to_first=self._plain.odd_to_first)
            tokens = len(query_ids) + len(ids)
            if first + second < tokens:
                truncations.append(Truncation(index, tokens + specials, self.max_tokens, exact and query_exact))
            head = [*before, *_keep(query_ids, first, truncate), *between]
            tail = [*_keep(ids, second, truncate), *after]
            segments = [0] * len(head) + [self._template.second_segment] * len(tail) if self._segments else None
            sequences.append(Sequence(head + tail, segments))
        return sequences, truncations

    def count(self, texts: SequenceOf[str], prompt: str = "") -> list[int]:
        """Tokens of each text with `prompt` and special tokens, as if the model had no limit."""
        around = self.special_tokens + len(self._rules.appended)
        return [len(ids) + around for ids in self._plain.encode([prompt + text for text in texts])]

    def tokens(self, text: str, prompt: str = "", *, special: bool = True) -> list[Token]:
        """What a text is made of, in order; `special`: with the model's special tokens around it."""
        before, after = self._template.single
        found = self._plain.tokens(prompt + text)
        if not special:
            return found
        return [
            *map(self._plain.special_token, before),
            *found,
            *map(self._plain.special_token, [*self._rules.appended, *after]),
        ]

    def shorten(self, texts: SequenceOf[str], tokens: int) -> tuple[list[str], list[Truncation]]:
        """The first `tokens` tokens of each text as text, and which texts were cut."""
        if tokens >= self.max_tokens:
            return list(texts), []  # the model's own limit cuts earlier
        kept, truncations = [], []
        for index, text in enumerate(texts):
            start, count, exact = self._first(text, tokens)
            kept.append(text if count <= tokens else start)
            if count > tokens:
                truncations.append(Truncation(index, count, tokens, exact=exact, by="request"))
        return kept, truncations

    def _first(self, text: str, tokens: int) -> tuple[str, int, bool]:
        """The first `tokens` tokens as text, how many tokens were seen, and whether those are all."""
        limit = max(_MIN_CHARS, tokens * _CHARS_PER_TOKEN)
        while limit < len(text):
            start, count = self._plain.first(text[:limit], tokens)
            if count > tokens + _MARGIN_TOKENS:
                return start, count, False
            limit *= 4
        if len(text) * _TOKENS_PER_CHAR < tokens:
            return text, 0, True
        start, count = self._plain.first(text, tokens)
        return start, count, True

    def _ids(self, texts: SequenceOf[str], room: int, truncate: Truncate) -> list[tuple[list[int], bool]]:
        """Ids of each text without special tokens, and whether they are of the whole text."""
        limit = max(_MIN_CHARS, room * _CHARS_PER_TOKEN)
        long = [index for index, text in enumerate(texts) if len(text) > limit]
        cut = list(texts)
        for index in long:
            cut[index] = ""
        result = [(ids, True) for ids in self._plain.encode(cut)]
        for index in long:
            result[index] = self._long(texts[index], limit, room, truncate)
        return result

    def _long(self, text: str, limit: int, room: int, truncate: Truncate) -> tuple[list[int], bool]:
        """Read a very long text in growing parts until more tokens than fit have been seen."""
        while limit < len(text):
            ids = self._plain.encode([text[-limit:] if truncate == "start" else text[:limit]])[0]
            if len(ids) > room + _MARGIN_TOKENS:
                return ids, False
            limit *= 4
        return self._plain.encode([text])[0], True


def _keep(ids: list[int], count: int, truncate: Truncate) -> list[int]:
    return ids[max(0, len(ids) - count) :] if truncate == "start" else ids[:count]


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
        vocabulary=facts.vocabulary,
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
