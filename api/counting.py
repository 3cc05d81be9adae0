"""Tokens of texts, as if the model had no limit: how many, or which ones."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from api.asks import CountAsk
from api.cross_site import may_import
from api.fields import at_most
from errors import InvalidRequestError, WrongModelKindError
from models.prompts import choose_prompt
from runners.engine import Engine
from runners.pool.model_pool import ModelPool
from runners.text.plain_tokenizers import Token
from runners.text.tokenization import TextTokenizer
from settings import Settings


@dataclass(frozen=True)
class Counts:
    """The number of each text's tokens, and what the model takes."""

    model: str
    counts: list[int]
    special_tokens: int
    max_tokens: int


class Counting:
    """Token counts over one pool of models."""

    def __init__(self, pool: ModelPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def count(self, ask: CountAsk) -> Counts:
        """How many tokens each text has."""
        texts = self._texts(ask)
        async with self._use(ask) as (engine, prompt):
            tokenizer = engine.tokenizer
            parts = await engine.count(texts, lambda part: tokenizer.count(part, prompt))
        counts = [count for part in parts for count in part]
        return Counts(self._name(ask), counts, tokenizer.special_tokens, tokenizer.max_tokens)

    async def spell(self, ask: CountAsk, write: Callable[[list[Token]], bytes]) -> list[bytes]:
        """What `write` makes of each text's tokens. It runs beside the event loop, and the tokens are not kept.

        InvalidRequestError where the texts have more tokens than MAX_TOKENIZE_TOKENS.
        """
        texts = self._texts(ask)
        async with self._use(ask) as (engine, prompt):
            speller = _Speller(engine.tokenizer, prompt, ask, self._settings.max_tokenize_tokens)
            parts = await engine.count(texts, lambda part: [write(speller.tokens(text)) for text in part])
        return [written for part in parts for written in part]

    @contextlib.asynccontextmanager
    async def _use(self, ask: CountAsk) -> AsyncIterator[tuple[Engine, str]]:
        """The engine of a request's model, and the prompt before each text."""
        spec, suffix = self._pool.catalog.resolve(self._name(ask))
        prompt = choose_prompt(spec, input_type=ask.input_type, prompt_name=ask.prompt_name, suffix=suffix)
        async with self._pool.use(spec, may_import=may_import()) as loaded:
            if loaded.engine is None:
                raise WrongModelKindError(
                    f"{spec.name} is forwarded; its tokenizer is not here. Name another model.", param="model"
                )
            yield loaded.engine, prompt

    def _name(self, ask: CountAsk) -> str:
        return ask.model or self._settings.embedding_model_name

    def _texts(self, ask: CountAsk) -> list[str]:
        """The texts of a request; InvalidRequestError for token ids, and for what is too much to be counted."""
        texts = [each for each in ask.inputs if isinstance(each, str)]
        if len(texts) < len(ask.inputs):
            raise InvalidRequestError(f"{ask.field} must be a text or a list of texts here.", param=ask.field)
        at_most(len(texts), self._settings.max_inputs, ask.field, "MAX_INPUTS")
        most = self._settings.max_text_bytes
        for index, text in enumerate(texts):
            if 4 * len(text) > most and len(text.encode()) > most:
                name = _input_name(ask.field, index, texts)
                raise InvalidRequestError(
                    f"{name} has {len(text.encode())} bytes; tokens are counted in texts of at most {most} "
                    "(MAX_TEXT_BYTES). Send it in several parts.",
                    param=name,
                )
        return texts


class _Speller:
    """Tells the tokens of a request's texts, so many in all."""

    def __init__(self, tokenizer: TextTokenizer, prompt: str, ask: CountAsk, limit: int) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._ask = ask
        self._limit = limit
        self._left = limit

    def tokens(self, text: str) -> list[Token]:
        """The tokens of the next text."""
        if self._tokenizer.has_more_than(self._left, self._prompt + text):
            raise self._too_many()
        tokens = self._tokenizer.tokens(text, self._prompt, special=self._ask.special)
        self._left -= len(tokens)
        if self._left < 0:
            raise self._too_many()
        return tokens

    def _too_many(self) -> InvalidRequestError:
        return InvalidRequestError(
            f"{self._ask.field} has more than {self._limit} tokens, which is the most that one request gets back "
            "(MAX_TOKENIZE_TOKENS). Send several requests, or ask POST /v1/tokenize with input how many there are.",
            param=self._ask.field,
        )


def _input_name(field: str, index: int, texts: Sequence[str]) -> str:
    return f"{field}.{index}" if len(texts) > 1 else field
