"""A loaded model: its tokenizer and its network, shared by embedding and reranking."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from errors import InputTooLongError, InvalidRequestError, ServiceError
from runners.compute import Compute, Computes
from runners.contracts import (
    QUERY,
    Encodings,
    Results,
    Rows,
    TextOutputs,
    Timings,
    TokenSequence,
    TokenSequences,
    Truncate,
    TruncatedInput,
)
from runners.devices import usable_cores
from runners.text.reading import WHOLE_CHARACTERS
from runners.text.tokenization import Tokenizer
from runners.text.tokenizer_queue import TokenizerQueue
from runners.text.truncation import joined

_INLINE_CHARACTERS = 500
_MAX_CORES = 8
"""The tokenizers library processes the texts of a slice in parallel, one per core."""
MAX_QUEUED_CHARACTERS = 2**27
"""Default for callers without settings; the service uses its setting MAX_QUEUED_CHARACTERS."""

I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")


def _size(item: object) -> int:
    """Characters of a text, or number of token ids."""
    assert isinstance(item, str | tuple)
    return len(item)


def _rows(results: Results) -> Rows:
    assert not isinstance(results, list)
    return results


def too_long(name: str, cut: TruncatedInput) -> InputTooLongError:
    """The error for an input that is too long; `name` is the client's name for it."""
    count = f"{cut.tokens}" if cut.exact else f"more than {cut.tokens}"
    if cut.by == "bytes":
        return InputTooLongError(
            f"{name} is so long that only a part of it is read (MAX_TEXT_BYTES). Shorten it, or send truncate: true.",
            param=name,
        )
    return InputTooLongError(
        f"{name} has {count} tokens, special tokens included; the model takes {cut.kept}. "
        "Shorten it, or send truncate: true to have its end cut off.",
        param=name,
    )


@dataclass
class Encoded:
    """The token sequences of one request."""

    sequences: list[TokenSequence]
    truncated: list[TruncatedInput]
    tokens: int
    timings: Timings = field(default_factory=Timings)

    def expand(self, places: Sequence[int]) -> None:
        """Count and report per input of the request instead of per distinct sequence.

        `places[i]` is the index of the sequence of input i.
        """
        cut = {each.index: each for each in self.truncated}
        self.tokens = sum(len(self.sequences[place]) for place in places)
        self.truncated = [replace(cut[place], index=index) for index, place in enumerate(places) if place in cut]
        if QUERY in cut:
            self.truncated.append(cut[QUERY])

    def refuse_empty(self, places: Sequence[int], input_name: str) -> None:
        """InvalidRequestError that names the first input without tokens (some models add no special tokens)."""
        for index, place in enumerate(places):
            if not len(self.sequences[place]):
                name = f"{input_name}.{index}"
                raise InvalidRequestError(f"{name} has no tokens for this model.", param=name)

    def refuse_truncated(self, input_name: str) -> None:
        """InputTooLongError that names the first input that exceeds the model's limit or MAX_TEXT_BYTES."""
        for cut in self.truncated:
            if cut.by in ("model", "bytes"):
                raise too_long(f"{input_name}.{cut.index}", cut)


class Engine:
    """One loaded model: tokenizes off the event loop, and runs its network here or in the engine process."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        compute: Computes,
        name: str,
        *,
        max_queued_characters: int = MAX_QUEUED_CHARACTERS,
    ) -> None:
        self.tokenizer = tokenizer
        self.compute = compute
        queue = partial(
            TokenizerQueue,
            max_characters=max_queued_characters,
            slice_characters=tokenizer.characters_at_once
            * (min(_MAX_CORES, usable_cores()) if tokenizer.thread_safe else 1),
        )
        # The next batch is tokenized while one is computed.
        self._tokenizing = queue(name)
        # Very long texts and token counts have their own queue, unless the tokenizer is not thread-safe.
        self._aside = queue(f"{name} aside") if tokenizer.thread_safe else self._tokenizing

    async def encode_texts(self, texts: Sequence[str], prompt: str, truncate: Truncate = "end") -> Encoded:
        """One sequence per text, with `prompt` before the text."""
        return await self._encode(texts, lambda part: self.tokenizer.encode_texts(part, prompt, truncate), prompt)

    async def encode_ids(self, inputs: Sequence[tuple[int, ...]], prompt: str, truncate: Truncate) -> Encoded:
        """The same for inputs that are already token ids of this model's vocabulary."""
        return await self._encode(inputs, lambda part: self.tokenizer.encode_ids(part, prompt, truncate), prompt)

    async def encode_pairs(
        self, query: str, documents: Sequence[str], instruction: str, truncate: Truncate = "end"
    ) -> Encoded:
        """One sequence per document, after the query."""
        pairs = self.tokenizer.pairs(query, instruction, truncate)
        return await self._encode(documents, pairs.encode, query)

    async def shorten(self, texts: Sequence[str], tokens: int | None) -> tuple[Sequence[str], list[TruncatedInput]]:
        """The first `tokens` tokens of each text, and the texts that were truncated. None: no limit."""
        if tokens is None:
            return texts, []
        kept: list[str] = []
        truncated: list[TruncatedInput] = []
        queue = self._queue_for(texts)
        for part, cuts in await queue.run(texts, lambda part: self.tokenizer.shorten(part, tokens), len):
            truncated += [replace(cut, index=cut.index + len(kept)) for cut in cuts]
            kept += part
        return kept, truncated

    async def refuse_unknown(self, inputs: Sequence[tuple[int, ...]], input_name: str) -> None:
        """InvalidRequestError that names the first input with a token id outside the model's vocabulary."""
        numbered = list(enumerate(inputs))
        await self._tokenizing.run(
            numbered, lambda part: self.tokenizer.refuse_unknown(part, input_name), lambda item: len(item[1])
        )

    async def count(self, texts: Sequence[str], count: Callable[[Sequence[str]], R]) -> list[R]:
        """The results of `count` for consecutive parts of the texts, for requests that need token counts only."""
        return await self._aside.run(texts, count, len)

    async def run(self, sequences: TokenSequences, priority: int = 0, timings: Timings | None = None) -> Rows:
        """N sequences -> N rows, in order. Adds the time in the queue and in forward passes to `timings`."""
        return _rows(await self.compute.run(sequences, priority, timings))

    async def outputs(
        self, sequences: TokenSequences, priority: int = 0, timings: Timings | None = None
    ) -> list[TextOutputs]:
        """The same for sequences that want more than a row, one of them or all."""
        results = await self.compute.run(sequences, priority, timings)
        assert isinstance(results, list)
        return results

    @property
    def local(self) -> Compute:
        """The network, which must be in this process."""
        assert isinstance(self.compute, Compute)
        return self.compute

    def run_now(self, sequences: TokenSequences) -> Rows:
        """N sequences -> N rows in one pass on the calling thread, for checks at import."""
        return _rows(self.local.run_now(sequences))

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error` and abandon a stuck pass."""
        self._tokenizing.abort(error)
        self._aside.abort(error)
        self.compute.abort(error)

    def close(self) -> None:
        """Stop the threads and free the memory. Blocks until the current batch is done."""
        self.compute.close()
        self._tokenizing.close()
        self._aside.close()

    async def _encode(self, items: Sequence[I], encode: Callable[[Sequence[I]], Encodings], shared: str) -> Encoded:
        """Encode items in slices; `shared` is the text that is encoded with each of them."""
        started = time.perf_counter()
        if self.tokenizer.thread_safe and len(shared) + sum(map(_size, items)) <= _INLINE_CHARACTERS:
            sequences, truncated = encode(items)  # takes less time than waking another thread
        else:
            sequences, truncated = joined(await self._queue_for([shared, *items]).run(items, encode, _size))
        timings = Timings(tokenize_s=time.perf_counter() - started)
        return Encoded(sequences, truncated, sum(map(len, sequences)), timings)

    def _queue_for(self, items: Sequence[object]) -> TokenizerQueue:
        return self._aside if any(_size(item) > WHOLE_CHARACTERS for item in items) else self._tokenizing
