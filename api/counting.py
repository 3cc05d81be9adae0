"""Counts or lists the tokens of texts, without the model's limit."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from api.by_name import ByName
from api.cross_site import may_import
from api.field_types import check_count
from api.params import CountParams
from errors import InvalidRequestError, WrongModelKindError
from models.prompts import choose_prompt
from runners.engine import Engine
from runners.loaded_model import Pool
from runners.text.plain_tokenizers import Token
from runners.text.tokenization import Tokenizer
from settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Counts:
    """The number of tokens of each text, and the model's limit."""

    model: str
    counts: list[int]
    special_tokens: int
    max_tokens: int


class Counting:
    """Token counts over one pool of models."""

    def __init__(self, pool: Pool, by_name: ByName, settings: Settings) -> None:
        self._pool = pool
        self._by_name = by_name
        self._settings = settings

    async def count(self, params: CountParams) -> Counts:
        """Number of tokens of each text."""
        texts = self._texts(params)
        async with self._use(params) as (engine, prompt):
            tokenizer = engine.tokenizer
            parts = await engine.count(texts, lambda part: tokenizer.count(part, prompt))
        counts = [count for part in parts for count in part]
        return Counts(self._name(params), counts, tokenizer.special_tokens, tokenizer.max_tokens)

    async def tokens(self, params: CountParams, write: Callable[[list[Token]], T]) -> list[T]:
        """The tokens of each text, serialized by `write` off the event loop, so that they are not kept in memory.

        InvalidRequestError if the texts have more tokens than MAX_TOKENIZE_TOKENS.
        """
        texts = self._texts(params)
        async with self._use(params) as (engine, prompt):
            listed = _TokenList(engine.tokenizer, prompt, params, self._settings.max_tokenize_tokens)
            parts = await engine.count(texts, lambda part: [write(listed.tokens(text)) for text in part])
        return [written for part in parts for written in part]

    @contextlib.asynccontextmanager
    async def _use(self, params: CountParams) -> AsyncIterator[tuple[Engine, str]]:
        """The engine of a request's model, and the prompt before each text."""
        spec, suffix = await self._by_name.resolve(self._name(params))
        prompt = choose_prompt(spec, input_type=params.input_type, prompt_name=params.prompt_name, suffix=suffix)
        async with self._pool.use(spec, may_import=may_import()) as loaded:
            if loaded.engine is None:
                raise WrongModelKindError(
                    f"{spec.name} is forwarded to its provider and has no local tokenizer. Choose another model.",
                    param="model",
                )
            yield loaded.engine, prompt

    def _name(self, params: CountParams) -> str:
        return params.model or self._settings.embedding_model_name

    def _texts(self, params: CountParams) -> list[str]:
        """The texts of a request; InvalidRequestError for token ids, too many texts, and texts that are too long."""
        texts = [each for each in params.inputs if isinstance(each, str)]
        if len(texts) < len(params.inputs):
            raise InvalidRequestError(
                f"{params.input_name} must be a text or a list of texts on this route.", param=params.input_name
            )
        check_count(len(texts), self._settings.max_inputs, params.input_name, "MAX_INPUTS")
        max_bytes = self._settings.max_text_bytes
        for index, text in enumerate(texts):
            if 4 * len(text) > max_bytes and len(text.encode()) > max_bytes:
                name = _input_name(params.input_name, index, texts)
                raise InvalidRequestError(
                    f"{name} has {len(text.encode())} bytes; the limit for counting tokens is {max_bytes} "
                    "(MAX_TEXT_BYTES). Split the text.",
                    param=name,
                )
        return texts


class _TokenList:
    """Lists the tokens of a request's texts, up to `limit` in total."""

    def __init__(self, tokenizer: Tokenizer, prompt: str, params: CountParams, limit: int) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._params = params
        self._limit = limit
        self._left = limit

    def tokens(self, text: str) -> list[Token]:
        """The tokens of the next text."""
        if self._tokenizer.has_more_than(self._left, self._prompt + text):
            raise self._too_many()
        tokens = self._tokenizer.tokens(text, self._prompt, special=self._params.special_tokens)
        self._left -= len(tokens)
        if self._left < 0:
            raise self._too_many()
        return tokens

    def _too_many(self) -> InvalidRequestError:
        name = self._params.input_name
        return InvalidRequestError(
            f"{name} has more than {self._limit} tokens, the limit for one request (MAX_TOKENIZE_TOKENS). Send several "
            "requests, or count the tokens with POST /v1/tokenize and input.",
            param=name,
        )


def _input_name(name: str, index: int, texts: Sequence[str]) -> str:
    return f"{name}.{index}" if len(texts) > 1 else name
