"""The tokenizer of a model that sentence-transformers runs: that library turns each input into token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from errors import InvalidRequestError
from models.catalog import Side
from models.facts import ModelFacts
from models.prompts import Prompt
from runners.contracts import Encodings, TokenSequence, Truncate, TruncatedInput
from runners.text.located import Located
from runners.text.pairs import Pairs
from runners.text.plain_tokenizers import Token
from runners.text.reading import WHOLE_CHARACTERS, readable_part
from runners.text.truncation import cut_by_model, longest_start

Text = str | tuple[str, str]


class Reader(Protocol):
    """The part of SentenceModel (backends/sentence_transformers.py) that needs no weights."""

    any_side: Side | None

    def sequence(
        self, text: Text, prompt: str = "", side: Side | None = None, *, whole: bool = False
    ) -> TokenSequence: ...

    def tokens(self, sequence: TokenSequence) -> list[tuple[int, str, bool]]: ...

    def cut_start(self, *, at_start: bool) -> None: ...


class SentenceTokenizer:
    """Encodes texts and pairs one at a time."""

    thread_safe = False
    characters_at_once = 8_192

    def __init__(self, model: Reader, facts: ModelFacts, max_text_bytes: int) -> None:
        self._model = model
        self._max_bytes = max_text_bytes
        self._reranker = facts.dimensions is None
        self.max_tokens = facts.max_tokens
        self.special_tokens = len(self._whole(""))

    def encode_texts(self, texts: Sequence[str], prompt: str = "", truncate: Truncate = "end") -> Encodings:
        """One sequence per text, with `prompt` before it, and the texts that were truncated."""
        side = prompt.side if isinstance(prompt, Prompt) else None
        return self._encode(texts, prompt, side, truncate)

    def encode_ids(self, *_: object) -> Encodings:
        """Raise InvalidRequestError, like `refuse_unknown`."""
        raise _texts_only("input")

    def refuse_unknown(self, inputs: Iterable[tuple[int, Sequence[int]]], input_name: str) -> None:
        """Raise InvalidRequestError for any ids: only the library's own tokenizer makes inputs for these models."""
        for index, _ in inputs:
            raise _texts_only(f"{input_name}.{index}")

    def pairs(self, query: str, instruction: str = "", truncate: Truncate = "end") -> Pairs:
        """The query of a request, to be encoded with its documents."""
        return _SentencePairs(self, query, instruction, truncate)

    def encode_pairs(
        self, query: str, documents: Sequence[str], instruction: str = "", truncate: Truncate = "end"
    ) -> Encodings:
        """One sequence per document, after the query, and the pairs that were truncated."""
        return self._encode([(query, document) for document in documents], instruction, None, truncate)

    def count(self, texts: Sequence[str], prompt: str = "") -> list[int]:
        """The number of tokens of each text, including `prompt` and special tokens, without truncation."""
        return [len(self._whole(text, prompt)) for text in texts]

    def has_more_than(self, tokens: int, text: str) -> bool:
        """Whether a text of more than WHOLE_CHARACTERS has more than `tokens` tokens."""
        return len(text) > WHOLE_CHARACTERS and self._length(text) > tokens

    def tokens(self, text: str, prompt: str = "", *, special: bool = True) -> list[Token]:
        """The tokens of a text, in order; with the model's special tokens if `special`."""
        found = self._model.tokens(self._whole(text, prompt))
        return [Token(number, piece, special=extra) for number, piece, extra in found if special or not extra]

    def locate(self, text: str, prompt: str, input_name: str) -> Located:  # noqa: ARG002  # the protocol's
        """Raise InvalidRequestError: the library does not report the characters of a token."""
        raise InvalidRequestError(
            f"{input_name}: this model is run by sentence-transformers, which does not support late chunking.",
            param="model",
        )

    def shorten(self, texts: Sequence[str], tokens: int) -> tuple[list[str], list[TruncatedInput]]:
        """Truncate each text to its first `tokens` tokens, as text; also return the truncated texts."""
        kept, truncated = [], []
        for index, text in enumerate(texts):
            text = readable_part(text, self._max_bytes, "end")
            total = self._length(text)
            kept.append(text if total <= tokens else longest_start(text, tokens, self._length))
            if total > tokens:
                truncated.append(TruncatedInput(index, total, tokens, by="request"))
        return kept, truncated

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token of the vocabulary."""
        return [piece for _, piece, _ in self._model.tokens(TokenSequence(list(token_ids)))]

    def _length(self, text: str) -> int:
        return self.count([text])[0] - self.special_tokens

    def _whole(self, text: str, prompt: str = "") -> TokenSequence:
        """A text without truncation; for a reranker, a document beside an empty query."""
        return self._model.sequence(("", text) if self._reranker else text, prompt, self._model.any_side, whole=True)

    def _encode(self, texts: Sequence[Text], prompt: str, side: Side | None, truncate: Truncate) -> Encodings:
        sequences: list[TokenSequence] = []
        truncated: list[TruncatedInput] = []
        for index, text in enumerate(texts):
            readable = self._readable(text, truncate)
            sequence = self._model.sequence(readable, prompt, side, whole=True)
            tokens = len(sequence)
            if tokens > self.max_tokens:
                sequence = self._cut(readable, prompt, side, truncate)
            truncated += cut_by_model(index, tokens, max(self.max_tokens, len(sequence)), whole=readable == text)
            sequences.append(sequence)
        return sequences, truncated

    def _cut(self, text: Text, prompt: str, side: Side | None, truncate: Truncate) -> TokenSequence:
        self._model.cut_start(at_start=truncate == "start")
        try:
            return self._model.sequence(text, prompt, side)
        finally:
            self._model.cut_start(at_start=False)

    def _readable(self, text: Text, truncate: Truncate) -> Text:
        if isinstance(text, str):
            return readable_part(text, self._max_bytes, truncate)
        first, second = (readable_part(each, self._max_bytes, truncate) for each in text)
        return first, second


def _texts_only(name: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name} must be a text: this model is run by sentence-transformers, which takes no token ids.", param=name
    )


class _SentencePairs:
    """One query, to be encoded with any number of documents."""

    def __init__(self, tokenizer: SentenceTokenizer, query: str, instruction: str, truncate: Truncate) -> None:
        self._tokenizer = tokenizer
        self._query = query
        self._instruction = instruction
        self._truncate = truncate

    def encode(self, documents: Sequence[str]) -> Encodings:
        """One sequence per document, and the pairs that were truncated."""
        return self._tokenizer.encode_pairs(self._query, documents, self._instruction, self._truncate)
