"""What embedding and reranking share: one model's tokenizer, its batcher and its backend."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np

from errors import InputTooLongError, InternalError, ServiceError
from runners.backends import Backend, Rows, Sequences
from runners.batching import AdaptiveBatcher
from runners.planning import CALL_COST_TOKENS
from runners.timings import Timings
from runners.tokenization import Sequence, TextTokenizer, Truncate, Truncation

logger = logging.getLogger("service.engine")

_INLINE_CHARACTERS = 500

T = TypeVar("T")
Encode = Callable[[], tuple[list[Sequence], list[Truncation]]]


def too_long(name: str, cut: Truncation) -> InputTooLongError:
    """The refusal of an input that does not fit, by the name of its field."""
    count = f"{cut.tokens}" if cut.exact else f"more than {cut.tokens}"
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

    def refuse_truncation(self, field: str) -> None:
        """InputTooLongError that names the first input that does not fit the model."""
        for cut in self.truncations:
            if cut.by == "model":
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
        call_cost_tokens: int = CALL_COST_TOKENS,
    ) -> None:
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
        )
        # The next batch is tokenised while one is computed; one thread, so that requests keep their order.
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    @property
    def queued_tokens(self) -> int:
        """Tokens that wait."""
        return self._batcher.queued_tokens

    async def encode_texts(self, texts: SequenceOf[str], prompt: str, truncate: Truncate = "end") -> Encoded:
        """One sequence for the prompt and each text."""
        size = len(prompt) * len(texts) + sum(map(len, texts))
        return await self._encode(lambda: self.tokenizer.encode_texts(texts, prompt, truncate), size)

    async def encode_ids(self, inputs: SequenceOf[SequenceOf[int]], prompt: str, truncate: Truncate) -> Encoded:
        """The same for inputs that are tokenised already, with this model's vocabulary."""
        size = len(prompt) + sum(map(len, inputs))
        return await self._encode(lambda: self.tokenizer.encode_ids(inputs, prompt, truncate), size)

    async def encode_pairs(
        self, query: str, documents: SequenceOf[str], instruction: str, truncate: Truncate = "end"
    ) -> Encoded:
        """One sequence a document, each behind the query."""
        size = len(query) + sum(map(len, documents))
        return await self._encode(lambda: self.tokenizer.encode_pairs(query, documents, instruction, truncate), size)

    async def shorten(self, texts: SequenceOf[str], tokens: int | None) -> tuple[SequenceOf[str], list[Truncation]]:
        """The first `tokens` tokens of each text, and which were cut; None: the texts as they are."""
        if tokens is None:
            return texts, []
        return await self.off_the_loop(lambda: self.tokenizer.shorten(texts, tokens))

    async def off_the_loop(self, work: Callable[[], T]) -> T:
        """Run something that tokenises on the tokenizing thread."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizing, work)

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
        rows = self.backend.forward_exact(sequences)
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

    def abort(self, error: ServiceError) -> None:
        """Give every waiter `error` and leave a hanging pass to itself."""
        self._batcher.abort(error)

    def close(self) -> None:
        """Stop the threads and free the memory; blocks until the current batch is done."""
        self._batcher.close()
        self._tokenizing.shutdown(wait=True, cancel_futures=True)
        self.backend.close()

    async def _encode(self, encode: Encode, characters: int) -> Encoded:
        started = time.perf_counter()
        if characters <= _INLINE_CHARACTERS and self.tokenizer.thread_safe:
            sequences, truncations = encode()  # takes less time than waking another thread
        else:
            sequences, truncations = await self.off_the_loop(encode)
        timings = Timings(tokenize_s=time.perf_counter() - started)
        return Encoded(sequences, truncations, sum(map(len, sequences)), timings)
