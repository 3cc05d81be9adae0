"""What embedding and reranking share: one model's tokenizer, its batcher and its backend."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np

from errors import InputTooLongError, InternalError, InvalidRequestError, ModelUnavailableError, ServiceError
from runners.backends import Backend, OutOfMemoryError, Rows, Sequences
from runners.batching.batcher import AdaptiveBatcher
from runners.batching.passes import OUT_OF_MEMORY_RETRY_S
from runners.batching.planning import CALL_COST_TOKENS
from runners.batching.queue import Clock
from runners.devices import cores_per_worker
from runners.pool.memory import PassMemory
from runners.text.reading import WHOLE_CHARACTERS
from runners.text.sequences import QUERY, Encodings, Sequence, Truncate, Truncation, joined
from runners.text.tokenization import TextTokenizer
from runners.text.tokenizer_queue import TokenizerQueue
from runners.timings import Timings

logger = logging.getLogger("service.engine")

_INLINE_CHARACTERS = 500
_MAX_CORES = 8
"""The tokenizers library gives each text of a slice to another core."""
MAX_QUEUED_CHARACTERS = 2**27
"""Where a caller has no settings at hand; theirs is MAX_QUEUED_CHARACTERS."""

I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")


def _size(item: object) -> int:
    """Characters of a text, or token ids."""
    assert isinstance(item, str | tuple)
    return len(item)


def too_long(name: str, cut: Truncation) -> InputTooLongError:
    """The refusal of an input that does not fit, by the name of its field."""
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
    """Tokenised inputs of one request."""

    sequences: list[Sequence]
    truncations: list[Truncation]
    tokens: int
    timings: Timings = field(default_factory=Timings)

    def spread(self, places: SequenceOf[int]) -> None:
        """Count and report for the request's inputs, of which several may be one sequence.

        `places[i]` is the sequence of input i.
        """
        cut = {truncation.index: truncation for truncation in self.truncations}
        self.tokens = sum(len(self.sequences[place]) for place in places)
        self.truncations = [replace(cut[place], index=index) for index, place in enumerate(places) if place in cut]
        if QUERY in cut:
            self.truncations.append(cut[QUERY])

    def refuse_empty(self, places: SequenceOf[int], field: str) -> None:
        """InvalidRequestError that names the first input without a token: some models put none around a text."""
        for index, place in enumerate(places):
            if not len(self.sequences[place]):
                raise InvalidRequestError(f"{field}.{index} has no tokens for this model.", param=f"{field}.{index}")

    def refuse_truncation(self, field: str) -> None:
        """InputTooLongError that names the first input that does not fit the model."""
        for cut in self.truncations:
            if cut.by in ("model", "bytes"):
                raise too_long(f"{field}.{cut.index}", cut)


class Engine:
    """A loaded model: text in, rows out, tokenised off the event loop and batched across requests."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        backend: Backend,
        *,
        name: str,
        max_batch_tokens: int,
        max_queued_tokens: int,
        max_queued_characters: int = MAX_QUEUED_CHARACTERS,
        call_cost_tokens: int = CALL_COST_TOKENS,
        tokens_per_s: float = 0.0,
        trial: Sequence | None = None,
        memory: PassMemory | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """`trial` is a text that was computed at load, at `tokens_per_s`; `memory` is what passes take and share."""
        self.tokenizer = tokenizer
        self.backend = backend
        self._name = name
        self._batcher = AdaptiveBatcher(
            self.run_now,
            run_beside=None if backend.beside is None else partial(self._pass, backend.beside),
            max_batch_tokens=max_batch_tokens,
            max_queued_tokens=max_queued_tokens,
            name=name,
            padding_cost=backend.padding_cost,
            overlaps=backend.overlaps,
            call_cost_tokens=call_cost_tokens,
            tokens_per_s=tokens_per_s,
            trial=trial,
            memory=memory,
            clock=clock,
        )
        queue = partial(
            TokenizerQueue,
            max_characters=max_queued_characters,
            slice_characters=tokenizer.characters_at_once
            * (min(_MAX_CORES, cores_per_worker(1)) if tokenizer.thread_safe else 1),
        )
        # The next batch is tokenised while one is computed.
        self._tokenizing = queue(name)
        # Neither very long texts nor token counts delay the others, unless the tokenizer serves one thread at a time.
        self._aside = queue(f"{name} aside") if tokenizer.thread_safe else self._tokenizing

    @property
    def queued_tokens(self) -> int:
        """Tokens that wait."""
        return self._batcher.queued_tokens

    async def encode_texts(self, texts: SequenceOf[str], prompt: str, truncate: Truncate = "end") -> Encoded:
        """One sequence for the prompt and each text."""
        return await self._encode(texts, lambda part: self.tokenizer.encode_texts(part, prompt, truncate), prompt)

    async def encode_ids(self, inputs: SequenceOf[tuple[int, ...]], prompt: str, truncate: Truncate) -> Encoded:
        """The same for inputs that are tokenised already, with this model's vocabulary."""
        return await self._encode(inputs, lambda part: self.tokenizer.encode_ids(part, prompt, truncate), prompt)

    async def encode_pairs(
        self, query: str, documents: SequenceOf[str], instruction: str, truncate: Truncate = "end"
    ) -> Encoded:
        """One sequence a document, each behind the query."""
        pairs = self.tokenizer.pairs(query, instruction, truncate)
        return await self._encode(documents, pairs.encode, query)

    async def shorten(self, texts: SequenceOf[str], tokens: int | None) -> tuple[SequenceOf[str], list[Truncation]]:
        """The first `tokens` tokens of each text, and which were cut; None: the texts as they are."""
        if tokens is None:
            return texts, []
        kept: list[str] = []
        truncations: list[Truncation] = []
        queue = self._queue_for(texts)
        for part, cuts in await queue.run(texts, lambda part: self.tokenizer.shorten(part, tokens), len):
            truncations += [replace(cut, index=cut.index + len(kept)) for cut in cuts]
            kept += part
        return kept, truncations

    async def refuse_unknown(self, inputs: SequenceOf[tuple[int, ...]], field: str) -> None:
        """InvalidRequestError that names an input with a token id outside the model's vocabulary."""
        numbered = list(enumerate(inputs))
        await self._tokenizing.run(
            numbered, lambda part: self.tokenizer.refuse_unknown(part, field), lambda item: len(item[1])
        )

    async def count(self, texts: SequenceOf[str], count: Callable[[SequenceOf[str]], R]) -> list[R]:
        """What `count` makes of consecutive parts of the texts, for requests that want tokens and no vectors."""
        return await self._aside.run(texts, count, len)

    async def run(self, sequences: SequenceOf[Sequence], priority: int = 0, timings: Timings | None = None) -> Rows:
        """N sequences -> N rows, in order; `timings` is told how long they waited and were computed."""
        return await self._batcher.submit(sequences, priority, timings)

    def run_now(self, sequences: SequenceOf[Sequence]) -> Rows:
        """The same on the calling thread, in one pass, for warming up and for checks before requests arrive."""
        return self._pass(self.backend.forward, sequences)

    def _pass(self, forward: Callable[[Sequences], Rows], sequences: Sequences) -> Rows:
        rows = forward(sequences)
        if np.isfinite(rows).all():
            return rows
        logger.warning("%s answered with NaN or infinity; computing once more in float32", self._name)
        try:
            rows = self.backend.forward_exact(sequences)
        except OutOfMemoryError:  # says nothing about the size of ordinary passes, which need no copy in float32
            raise ModelUnavailableError(
                f"{self._name} answers this input with NaN or infinity, and there is no memory to compute it in "
                "float32. Try again later.",
                retry_after_s=OUT_OF_MEMORY_RETRY_S,
            ) from None
        if np.isfinite(rows).all():
            return rows
        raise InternalError(f"{self._name} answers this input with NaN or infinity, in float32 too.")

    def report_queue(self) -> None:
        """Bring the queue's metrics up to date, also while a pass hangs."""
        self._batcher.report_queue()

    @property
    def stalled_s(self) -> float:
        """How long the current pass has been running."""
        return self._batcher.stalled_s

    def overdue(self, at_least_s: float) -> bool:
        """Whether the current pass hangs: it takes much longer than its size explains, and `at_least_s` seconds."""
        return self._batcher.overdue(at_least_s)

    @property
    def lost(self) -> bool:
        """Whether no pass will go well any more, as the device is gone."""
        return self._batcher.lost

    def abort(self, error: ServiceError) -> None:
        """Fail all pending requests with `error` and abandon a stuck pass."""
        self._tokenizing.abort(error)
        self._aside.abort(error)
        self._batcher.abort(error)

    def close(self) -> None:
        """Stop the threads and free the memory; blocks until the current batch is done."""
        self._batcher.close()
        self._tokenizing.close()
        self._aside.close()
        self.backend.close()

    async def _encode(self, items: SequenceOf[I], encode: Callable[[SequenceOf[I]], Encodings], beside: str) -> Encoded:
        """Encode items in slices; `beside` is a text that goes with all of them."""
        started = time.perf_counter()
        if self.tokenizer.thread_safe and len(beside) + sum(map(_size, items)) <= _INLINE_CHARACTERS:
            sequences, truncations = encode(items)  # takes less time than waking another thread
        else:
            sequences, truncations = joined(await self._queue_for([beside, *items]).run(items, encode, _size))
        timings = Timings(tokenize_s=time.perf_counter() - started)
        return Encoded(sequences, truncations, sum(map(len, sequences)), timings)

    def _queue_for(self, items: SequenceOf[object]) -> TokenizerQueue:
        return self._aside if any(_size(item) > WHOLE_CHARACTERS for item in items) else self._tokenizing
