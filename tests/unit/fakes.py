"""Stand-ins for what a unit test does not want to run."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.backends.batches import PaddedBatch
from runners.batching.options import BatchingOptions
from runners.compute import Compute
from runners.contracts import Backend, BatchShape, TextOutputs, TokenSequences
from runners.engine import Engine
from runners.text.plain_tokenizers import Token
from runners.text.templates import read_template
from runners.text.tokenization import Rules, TextTokenizer

PATIENCE_S = 120
"""Longest wait for something that is bound to happen; a failing test ends then, a passing one never notices."""


class Clock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """Where threads wait until a test lets them through."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)

    def enter(self, *, wait: bool = True) -> None:
        """Report one more, and wait to be let through."""
        self.started.release()
        if wait and not self._permits.acquire(timeout=PATIENCE_S):
            raise TimeoutError("the test never let this one through")

    def let(self, count: int = 1) -> None:
        """Let so many through."""
        self._permits.release(count)

    async def begun(self, count: int = 1) -> None:
        """Wait until so many more have begun."""
        for _ in range(count):
            assert await asyncio.to_thread(self.started.acquire, timeout=PATIENCE_S), "nothing began"


class GatedRun(Gate):
    """A forward pass that waits to be let through; `batches` has those that ran.

    A row is (first id, length) of its sequence. A sequence whose first id is in `poison` makes its batch fail.
    """

    def __init__(self, *, gated: bool = False, poison: Sequence[int] = ()) -> None:
        super().__init__()
        self.batches: list[list[list[int]]] = []
        self._gated = gated
        self._poison = set(poison)

    def __call__(self, sequences: TokenSequences) -> NDArray[np.float32]:
        self.enter(wait=self._gated)
        ids = [sequence.input_ids for sequence in sequences]
        self.batches.append(ids)
        if any(first[0] in self._poison for first in ids):
            raise ValueError("poisoned")
        return np.array([[row[0], len(row)] for row in ids], dtype=np.float32)

    def open(self) -> None:
        """Let everything through from now on."""
        self._gated = False
        self.let(10_000)


class Quiet:
    """A request handler that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server in a thread; its port."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


async def until(condition: Callable[[], bool]) -> None:
    """Give way until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        await asyncio.sleep(0.001)


class FakeBackend:
    """A model of one layer: the vector of a text is (sum of ids, tokens, 1); the logit is the sum of ids / 100."""

    name = "fake"
    padding_cost = 1.0
    concurrent_passes = 1
    memory_bytes = 0
    dtype = weights_dtype = "float32"
    second_forward = None

    def __init__(self, *, reranker: bool = False) -> None:
        self.closed = 0
        self.batches: list[PaddedBatch] = []
        self._reranker = reranker

    def forward(self, sequences: TokenSequences) -> NDArray[np.float32]:
        batch = PaddedBatch.of(sequences, pad_id=0)
        self.batches.append(batch)
        sums = (batch.input_ids * batch.pooling_mask).sum(1)
        if self._reranker:
            return np.asarray(sums[:, None] / 100, dtype=np.float32)
        return np.stack([sums, batch.attention_mask.sum(1), np.ones_like(sums)], axis=1).astype(np.float32)

    def forward_exact(self, sequences: TokenSequences) -> NDArray[np.float32]:
        return self.forward(sequences)

    def outputs(self, sequences: TokenSequences, *, exact: bool = False) -> list[TextOutputs]:
        rows = self.forward_exact(sequences) if exact else self.forward(sequences)
        return [TextOutputs(dense=row) for row in rows]

    def pass_bytes(self, size: BatchShape) -> int:
        return 0

    def close(self) -> None:
        self.closed += 1


class LetterTokenizer:
    """A letter is a token: a is 1, b is 2; 100 before, 101 between, 102 after."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(letter) - 96 for letter in text] for text in texts]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def probe(self, first: str, second: str | None) -> list[int]:
        (ids,) = self.encode([first])
        return [100, *ids, 102] if second is None else [100, *ids, 101, *self.encode([second])[0], 102]

    def tokens(self, text: str) -> list[Token]:
        return [Token(ord(letter) - 96, letter, start=place, stop=place + 1) for place, letter in enumerate(text)]

    def special_token(self, token_id: int) -> Token:
        return Token(token_id, f"<{token_id}>", special=True)

    def first(self, text: str, count: int) -> tuple[str, int]:
        return text[:count], len(text)

    def splits_at(self, text: str, place: int) -> bool:
        return True

    thread_safe = True
    characters_at_once = 65_536
    odd_to_first = False

    def second_segment(self) -> int:
        return 1


def letters(max_tokens: int = 8, *, token_type_ids: bool = False, **rules: Any) -> TextTokenizer:
    """A tokenizer of letters."""
    plain = LetterTokenizer()
    return TextTokenizer(
        plain,
        read_template(plain, closing=rules.pop("closing", ())),
        Rules(max_tokens=max_tokens, vocabulary=200, token_type_ids=token_type_ids, **rules),
    )


def batching(**options: Any) -> BatchingOptions:
    """Options of a small batcher."""
    small: dict[str, Any] = {"name": "tiny", "max_batch_tokens": 64, "max_queued_tokens": 10**6}
    return BatchingOptions(**small | options)


def make_engine(
    backend: Backend,
    tokenizer: TextTokenizer | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Engine:
    """An engine over a backend, with a tokenizer of letters."""
    costs = {"padding_cost": backend.padding_cost, "concurrent_passes": backend.concurrent_passes}
    wanted = batching(**costs | options)
    return Engine(tokenizer or letters(), Compute(backend, wanted, clock=clock), wanted.name)


def spec(**fields: Any) -> ModelSpec:
    """A catalogue block with as little as possible in it."""
    return ModelSpec.model_validate({"name": "tiny", "repo": "acme/Tiny", "kind": "embedding"} | fields)


def facts(**fields: Any) -> ModelFacts:
    """Facts of a model that was never imported."""
    known: dict[str, Any] = {
        "repo": "acme/Tiny",
        "revision": "a" * 40,
        "architecture": "BertModel",
        "max_tokens": 8,
        "vocabulary": 200,
        "parameters": 10,
        "weight_dtype": "F32",
        "weight_bytes": 40,
        "sha256": {},
    }
    return ModelFacts.model_validate(known | fields)


def write_files(folder: Path, **files: str) -> Path:
    """A folder with these text files; `config_json` is config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return folder
