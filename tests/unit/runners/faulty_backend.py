"""A backend that breaks where a test wants it to, and counts what it was asked to compute."""

from __future__ import annotations

import asyncio
import threading

import numpy as np

from runners.backends.batches import PaddedBatch
from runners.contracts import OutOfMemoryError, Rows, TokenSequence, TokenSequences
from tests.unit.fakes import PATIENCE_S, Clock, FakeBackend

TOKENS = 4


def text(number: int) -> TokenSequence:
    """A text of four tokens that is known by its number."""
    return TokenSequence([number] * TOKENS)


def answer_of(number: int) -> list[float]:
    """What the backend computes for `text(number)`."""
    return [float(number), float(TOKENS), 1.0]


class FaultyBackend(FakeBackend):
    """The row of a text is (its first id, tokens, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.poison: dict[int, BaseException] = {}
        """First id -> what a pass with it raises."""
        self.nan: set[int] = set()
        """First ids whose rows are not finite."""
        self.nan_exactly: set[int] = set()
        """Those that are not finite in float32 either."""
        self.strange = float("nan")
        self.room_tokens = 10**9
        self.refused = 0
        """Passes that were out of memory."""
        self.exact = 0
        """Passes in float32."""
        self.sizes_tokens: list[int] = []
        """Padded tokens of each pass that fitted."""
        self.seen: list[int] = []
        """First ids of all inputs that reached the model."""
        self._free = threading.Event()
        self._free.set()
        self._arrived = threading.Event()

    def hang(self) -> None:
        """Hold the next pass until it is released."""
        self._arrived.clear()
        self._free.clear()

    def release(self) -> None:
        """Let everything through."""
        self._free.set()

    async def hanging(self) -> None:
        """Wait until a pass hangs."""
        assert await asyncio.to_thread(self._arrived.wait, PATIENCE_S), "no pass came"

    def forward(self, sequences: TokenSequences) -> Rows:
        batch = PaddedBatch.of(sequences, pad_id=0)
        firsts = batch.input_ids[:, 0].tolist()
        self.seen += firsts
        self._arrived.set()
        self._free.wait()
        if batch.input_ids.size > self.room_tokens:
            self.refused += 1
            raise OutOfMemoryError("no room")
        self.sizes_tokens.append(batch.input_ids.size)
        for first in firsts:
            if first in self.poison:
                raise self.poison[first]
        return self._rows(batch, self.nan)

    def forward_exact(self, sequences: TokenSequences) -> Rows:
        self.exact += 1
        return self._rows(PaddedBatch.of(sequences, pad_id=0), self.nan_exactly)

    def _rows(self, batch: PaddedBatch, nan: set[int]) -> Rows:
        tokens = batch.attention_mask.sum(1)
        rows = np.stack([batch.input_ids[:, 0], tokens, np.ones_like(tokens)], axis=1).astype(np.float32)
        rows[np.isin(batch.input_ids[:, 0], list(nan))] = self.strange
        return rows


class Slow(FaultyBackend):
    """A pass takes a while on a clock that only tests move."""

    def __init__(self, clock: Clock, *, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self.seconds = seconds

    def forward(self, sequences: TokenSequences) -> Rows:
        self._clock.now += self.seconds
        return super().forward(sequences)


class Tearing(FaultyBackend):
    """Everything goes wrong at random, from a seed."""

    def forward(self, sequences: TokenSequences) -> Rows:
        random = np.random.default_rng(len(self.sizes_tokens))
        kind = random.integers(6)
        if kind == 0:
            raise OutOfMemoryError
        if kind == 1:
            raise SystemExit
        if kind == 2:
            raise ValueError
        rows = super().forward(sequences)
        if kind == 3:
            rows[0] = np.nan
        return rows[:-1] if kind == 4 else rows
