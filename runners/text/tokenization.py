"""Encode texts and pairs: special tokens, truncation and counts.

Padding and truncation are never set on a tokenizer object: all threads share it, so batches would silently be truncated
to another request's length. This module adds special tokens and truncates on plain lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from errors import InputTooLongError, InvalidRequestError
from models.catalog import ModelSpec
from models.facts import Expansion, ModelFacts, SideRules
from models.prompts import Prompt
from runners.contracts import Encodings, TokenSequence, Truncate, TruncatedInput
from runners.text.located import Located
from runners.text.pairs import CrossPairs, Joint, Pairs, PromptedPairs
from runners.text.plain_tokenizers import FastTokenizer, JapaneseTokenizer, PlainTokenizer, Token
from runners.text.reading import WHOLE_CHARACTERS, Read, Reader
from runners.text.sentences import SentenceTokenizer
from runners.text.templates import PairPrompt, Template, read_template
from runners.text.truncation import cut_by_model, truncate_ids

MAX_TEXT_BYTES = 2**20
"""The default for callers without settings (MAX_TEXT_BYTES)."""


@dataclass(frozen=True)
class Rules:
    """The rules of one model for turning texts into sequences."""

    max_tokens: int
    vocabulary: int
    token_type_ids: bool = False
    appended: tuple[int, ...] = ()
    """Ids to append to each text, which truncation may remove."""
    mask_prompt: bool = False
    """Exclude the prompt's tokens from pooling."""
    body: PairPrompt | None = None
    """The prompt of a prompted model."""
    separator: str | None = None
    """Part of the prompt between query and document that is tokenised alone."""
    max_text_bytes: int = MAX_TEXT_BYTES
    """Maximum number of UTF-8 bytes to read of a text."""
    query: SideRules | None = None
    """How queries are read; None: like all texts."""


class Tokenizer(Protocol):
    """Turns the inputs of requests into token sequences, and counts tokens. TextTokenizer describes the methods."""

    max_tokens: int
    special_tokens: int
    thread_safe: bool
    characters_at_once: int

    def encode_texts(self, texts: Sequence[str], prompt: str = "", truncate: Truncate = "end") -> Encodings: ...

    def encode_ids(
        self, inputs: Sequence[Sequence[int]], prompt: str = "", truncate: Truncate = "end"
    ) -> Encodings: ...

    def refuse_unknown(self, inputs: Iterable[tuple[int, Sequence[int]]], input_name: str) -> None: ...

    def pairs(self, query: str, instruction: str = "", truncate: Truncate = "end") -> Pairs: ...

    def encode_pairs(
        self, query: str, documents: Sequence[str], instruction: str = "", truncate: Truncate = "end"
    ) -> Encodings: ...

    def count(self, texts: Sequence[str], prompt: str = "") -> list[int]: ...

    def has_more_than(self, tokens: int, text: str) -> bool: ...

    def tokens(self, text: str, prompt: str = "", *, special: bool = True) -> list[Token]: ...

    def locate(self, text: str, prompt: str, input_name: str) -> Located: ...

    def shorten(self, texts: Sequence[str], tokens: int) -> tuple[list[str], list[TruncatedInput]]: ...

    def pieces(self, token_ids: Sequence[int]) -> list[str]: ...


class TextTokenizer:
    """Encodes texts and pairs as sequences of at most `max_tokens` tokens."""

    def __init__(self, plain: PlainTokenizer, template: Template, rules: Rules) -> None:
        self._plain = plain
        self._template = template
        self._rules = rules
        self._reader = Reader(plain, rules.max_text_bytes)
        self._joint = _joint(plain, rules)
        self._segments = rules.token_type_ids
        self.max_tokens = rules.max_tokens
        self.special_tokens = sum(map(len, template.single))
        """Number of special tokens around one text."""
        self.thread_safe = plain.thread_safe
        self.characters_at_once = plain.characters_at_once

    def encode_texts(self, texts: Sequence[str], prompt: str = "", truncate: Truncate = "end") -> Encodings:
        """Encode one sequence per text, with `prompt` before it; also return the truncated texts."""
        room = self._limit(prompt)[1]
        read = self._reader.read([prompt + text for text in texts], room, truncate)
        if appended := self._rules.appended:
            read = [Read([*each.ids, *appended], each.whole) for each in read]
        return self._finish(read, prompt, truncate)

    def encode_ids(self, inputs: Sequence[Sequence[int]], prompt: str = "", truncate: Truncate = "end") -> Encodings:
        """The same for token ids of this model's vocabulary, without special tokens."""
        before = self._plain.encode([prompt])[0] if prompt else []
        return self._finish([Read([*before, *ids, *self._rules.appended]) for ids in inputs], prompt, truncate)

    def refuse_unknown(self, inputs: Iterable[tuple[int, Sequence[int]]], input_name: str) -> None:
        """Raise InvalidRequestError for an id outside the vocabulary; it names the input by `input_name` and index."""
        highest = self._rules.vocabulary - 1
        for index, ids in inputs:
            if ids and not 0 <= min(ids) <= max(ids) <= highest:
                name = f"{input_name}.{index}"
                raise InvalidRequestError(
                    f"{name} has a token id outside this model's vocabulary (0 to {highest}).", param=name
                )

    def _finish(self, inputs: Sequence[Read], prompt: str, truncate: Truncate) -> Encodings:
        """Truncate ids and add special tokens."""
        rules = self._side_rules(prompt)
        before, after = ([], []) if rules is not None and rules.bare else self._template.single
        limit, room = self._limit(prompt)
        instruction = len(self._plain.encode([prompt])[0]) if prompt and self._rules.mask_prompt else 0
        sequences: list[TokenSequence] = []
        truncated: list[TruncatedInput] = []
        for index, read in enumerate(inputs):
            over = len(read.ids) - room
            truncated += cut_by_model(index, len(read.ids) + limit - room, limit, whole=read.whole)
            unpooled = max(0, instruction - over) if truncate == "start" and over > 0 else instruction
            full = [*before, *truncate_ids(read.ids, room, truncate), *after]
            unattended = _expand(full, rules.expansion) if rules is not None and rules.expansion else 0
            sequences.append(TokenSequence(full, [0] * len(full) if self._segments else None, unpooled, unattended))
        return sequences, truncated

    def _side_rules(self, prompt: str) -> SideRules | None:
        """The rules for texts with this prompt; None: those of all texts."""
        return self._rules.query if isinstance(prompt, Prompt) and prompt.side == "query" else None

    def _limit(self, prompt: str) -> tuple[int, int]:
        """The largest number of tokens with special tokens, and without them."""
        rules = self._side_rules(prompt)
        limit = rules.max_tokens if rules else self.max_tokens
        return limit, limit if rules is not None and rules.bare else limit - self.special_tokens

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token of the vocabulary."""
        return [self._plain.special_token(token_id).text for token_id in token_ids]

    def pairs(self, query: str, instruction: str = "", truncate: Truncate = "end") -> Pairs:
        """Prepare the query of a request, to be encoded with its documents in one or more parts.

        For a prompted model, each pair becomes one text that includes `instruction`.
        """
        if self._rules.body is None:
            return CrossPairs(
                self._plain,
                self._reader,
                self._template,
                max_tokens=self.max_tokens,
                segments=self._segments,
                query=query,
                truncate=truncate,
            )
        return PromptedPairs(
            self._plain,
            self._reader,
            self._template,
            body=self._rules.body,
            joint=self._joint,
            max_tokens=self.max_tokens,
            query=query,
            instruction=instruction,
            truncate=truncate,
        )

    def encode_pairs(
        self, query: str, documents: Sequence[str], instruction: str = "", truncate: Truncate = "end"
    ) -> Encodings:
        """Encode one sequence per document, after the query; also return the truncations."""
        return self.pairs(query, instruction, truncate).encode(documents)

    def count(self, texts: Sequence[str], prompt: str = "") -> list[int]:
        """The number of tokens of each text, including `prompt` and special tokens, without truncation."""
        around = self.special_tokens + len(self._rules.appended)
        return [length + around for length in self._plain.lengths([prompt + text for text in texts])]

    def has_more_than(self, tokens: int, text: str) -> bool:
        """Whether a text of more than WHOLE_CHARACTERS has more than `tokens` tokens; reads no more than necessary."""
        if len(text) <= WHOLE_CHARACTERS:
            return False
        (read,) = self._reader.read([text], tokens, "end")
        return len(read.ids) > tokens

    def tokens(self, text: str, prompt: str = "", *, special: bool = True) -> list[Token]:
        """The tokens of a text, in order; with the model's special tokens if `special`."""
        before, after = self._template.single
        found = self._plain.tokens(prompt + text)
        if not special:
            return found
        return [
            *map(self._plain.special_token, before),
            *found,
            *map(self._plain.special_token, [*self._rules.appended, *after]),
        ]

    def locate(self, text: str, prompt: str, input_name: str) -> Located:
        """A text after `prompt` as one sequence, with the characters of each token.

        InputTooLongError if it exceeds the model's limit, or InvalidRequestError if the tokenizer does not know the
        characters; both name the input by `input_name`.
        """
        room = self.max_tokens - self.special_tokens - len(self._rules.appended)
        if self._reader.exceeds(text) or self.has_more_than(room, prompt + text):
            raise self._too_long_at_once(input_name, f"more than {self.max_tokens}")
        tokens = self._plain.tokens(prompt + text)
        if len(tokens) > room:
            raise self._too_long_at_once(input_name, f"{len(tokens) + self.max_tokens - room}")
        if any(token.start is None for token in tokens):
            raise InvalidRequestError(
                f"{input_name}: this model's tokenizer does not report the characters of a token, which late chunking "
                "needs. Choose another model.",
                param="model",
            )
        before, after = self._template.single
        ids = [*before, *(token.id for token in tokens), *self._rules.appended, *after]
        places = np.array([(token.start, token.stop) for token in tokens], dtype=np.int64).reshape(-1, 2) - len(prompt)
        sequence = TokenSequence(ids, [0] * len(ids) if self._segments else None)
        return Located(sequence, places[:, 0], places[:, 1], len(before))

    def _too_long_at_once(self, name: str, tokens: str) -> InputTooLongError:
        return InputTooLongError(
            f"For late chunking, all of {name} has {tokens} tokens, special tokens included; the model takes "
            f"{self.max_tokens}. Send fewer or shorter texts.",
            param=name,
        )

    def shorten(self, texts: Sequence[str], tokens: int) -> tuple[list[str], list[TruncatedInput]]:
        """Truncate each text to its first `tokens` tokens, as text; also return the truncated texts."""
        if tokens >= self.max_tokens:
            return list(texts), []  # the model's own limit is lower
        kept, truncated = [], []
        for index, text in enumerate(texts):
            start, count, exact = self._reader.first(text, tokens)
            kept.append(text if count <= tokens else start)
            if count > tokens:
                truncated.append(TruncatedInput(index, count, tokens, exact=exact, by="request"))
        return kept, truncated


def _expand(ids: list[int], expansion: Expansion) -> int:
    """Append the tokens that expand a query; return the number of those to which no token attends."""
    added = max(0, expansion.tokens - len(ids))
    ids += [expansion.token_id] * added
    return 0 if expansion.attended else added


def _joint(plain: PlainTokenizer, rules: Rules) -> Joint | None:
    if rules.body is None:
        return None
    if rules.separator is not None:
        return Joint.apart(plain, rules.body, rules.separator)
    return Joint.find(plain, rules.body)


def load_tokenizer(folder: Path, spec: ModelSpec, facts: ModelFacts, max_text_bytes: int = MAX_TEXT_BYTES) -> Tokenizer:
    """The tokenizer of a stored model."""
    if facts.engine == "sentence-transformers":
        from runners.backends.sentence_transformers import tokenizing_model  # imports torch

        return SentenceTokenizer(tokenizing_model(folder, spec), facts, max_text_bytes)
    return load_text_tokenizer(folder, spec, facts, max_text_bytes)


def load_text_tokenizer(
    folder: Path, spec: ModelSpec, facts: ModelFacts, max_text_bytes: int = MAX_TEXT_BYTES
) -> TextTokenizer:
    """The tokenizer of a model that one of our own engines runs."""
    plain: PlainTokenizer
    prefixes = facts.multi_vector.prefix_tokens if facts.multi_vector else ()
    if spec.tokenizer.backend == "bert-japanese":
        plain = JapaneseTokenizer(folder, prefixes)
    else:
        plain = FastTokenizer(folder / "tokenizer.json", prefixes)
    in_text = spec.tokenizer.append_eos == "text"
    scoring = spec.scoring or facts.scoring
    rules = Rules(
        max_tokens=facts.max_tokens,
        vocabulary=facts.vocabulary,
        token_type_ids=facts.token_type_ids,
        appended=facts.closing_ids if in_text else (),
        mask_prompt=facts.mask_prompt,
        body=PairPrompt.parse(scoring.body, scoring.instruction_prompt) if scoring else None,
        separator=scoring.separator if scoring else None,
        max_text_bytes=max_text_bytes,
        query=facts.query_rules,
    )
    if scoring:
        prefix, suffix = plain.encode([scoring.prefix, scoring.suffix])
        template = Template((prefix, suffix), ([], [], []), 0)
    else:
        closing = () if in_text else facts.closing_ids
        template = read_template(plain, closing=closing)
    return TextTokenizer(plain, template, rules)
