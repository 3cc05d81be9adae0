"""The service's models in this process, without HTTP, for pipelines and scripts.

    from in_process import Embedder, Reranker

    result = Embedder("bge-m3", input_type="document")(["a text", "another"])  # result.vectors: (2, 1024)
    ranked = Reranker("bge-reranker-v2-m3")("a query", ["a document", "another"])  # ranked.order: [(1, 0.9), ...]

Models, names, prompts, numbers, limits and errors are those of the service with the same settings, which are read from
the environment. A process loads each model once, at its first use. Objects can be pickled, without the model.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from api.params import EmbeddingParams, RerankParams
from api.work import Ranked, Work
from engine_process import HOUSEKEEPING_S, build_pool, check_models
from errors import InvalidRequestError
from models.store import ModelStore, open_catalog
from runners.contracts import EmbeddingOptions, EmbeddingResult, RerankOptions, Timings
from runners.devices import detect
from settings import Settings, load_settings

_PART = 256
"""Texts that are tokenized and computed together; with late chunking, all of them."""
_PARALLEL = 4
"""Parts at the same time: one is tokenized while another is computed, and passes are filled from several."""

T = TypeVar("T")


class Embedder:
    """Embeds texts with one model. `options` are the fields of EmbeddingOptions, such as `input_type` or `dimensions`.

    `settings` default to those in the environment of the process that computes.
    """

    def __init__(self, model: str | None = None, *, settings: Settings | None = None, **options: Any) -> None:
        self.model = model
        self.settings = settings
        self.options = EmbeddingOptions(**options)

    def __call__(self, texts: Sequence[str]) -> EmbeddingResult:
        """Vectors (N, D) in the order of N texts, one or more, and the texts that were truncated.

        May be called from several threads. Raises ServiceError as the service would: ModelNotFoundError,
        InvalidRequestError, ModelUnavailableError.
        """
        engine = _engine(self.settings)
        return engine.run(_embed(engine.work, self.model, texts, self.options))

    @property
    def revision(self) -> str:
        """The revision of the model's repository, once the model has been used."""
        engine = _engine(self.settings)
        name = self.model or engine.work.settings.embedding_model_name
        spec, _ = engine.work.pool.catalog.resolve(name)
        stored = engine.store.find(spec)
        assert stored is not None
        return stored.facts.revision


class Reranker:
    """Scores documents with one model. `options` are the fields of RerankOptions, such as `top_n`.

    `settings` default to those in the environment of the process that computes.
    """

    def __init__(self, model: str | None = None, *, settings: Settings | None = None, **options: Any) -> None:
        self.model = model
        self.settings = settings
        self.options = RerankOptions(**options)

    def __call__(self, query: str, documents: Sequence[str]) -> Ranked:
        """Scores of the documents, their order from best to worst, and warnings. Errors as in Embedder."""
        engine = _engine(self.settings)
        return engine.run(engine.work.rank(RerankParams(self.model, query, documents, self.options, ())))


class _Engine:
    """The pool of models of this process, on an event loop in its own thread."""

    def __init__(self, settings: Settings, process: int) -> None:
        self.store = ModelStore()
        self._settings = settings
        self._pool = build_pool(settings, open_catalog(settings, self.store), self.store, detect(settings))
        self.work = Work(self._pool, settings)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="models", daemon=True).start()
        self._housekeeping = asyncio.run_coroutine_threadsafe(self._keep_house(), self._loop)
        atexit.register(self._close, process)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the event loop. An exception here, such as KeyboardInterrupt, cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    async def _keep_house(self) -> None:
        """Fail stalled passes and unload idle models, as the service does."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await check_models(self._pool, self._settings)

    def _close(self, owner: int) -> None:
        if os.getpid() == owner:  # a forked child has none of the threads
            self._housekeeping.cancel()
            for model in self._pool.loaded():
                model.close()


@cache
def _opened(settings: Settings, process: int) -> _Engine:
    """The engine of a process; a forked child cannot use that of its parent."""
    return _Engine(settings, process)


_opening = threading.Lock()


def _engine(settings: Settings | None) -> _Engine:
    with _opening:
        return _opened(settings or load_settings(), os.getpid())


async def _embed(work: Work, model: str | None, texts: Sequence[str], options: EmbeddingOptions) -> EmbeddingResult:
    """Embed texts in parts."""
    if len(texts) == 0:
        raise InvalidRequestError("Give at least one text.", param=options.input_name)
    as_one = options.late_chunking or options.spans is not None
    part_size = len(texts) if as_one else min(_PART, work.settings.max_inputs)
    free = asyncio.Semaphore(_PARALLEL)

    async def part(start: int) -> EmbeddingResult:
        async with free:
            inputs = [str(text) for text in texts[start : start + part_size]]
            try:
                return (await work.embed(EmbeddingParams(model, inputs, options, ()))).result
            except InvalidRequestError as error:
                raise _renumbered(error, options.input_name, start) from None

    tasks = [asyncio.create_task(part(start)) for start in range(0, len(texts), part_size)]
    try:
        results = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return _joined(results, part_size)


def _joined(results: Sequence[EmbeddingResult], part_size: int) -> EmbeddingResult:
    """One result for consecutive parts of `part_size` texts."""
    timings = Timings()
    for result in results:
        timings.add(result.timings)
    vectors = [result.vectors for result in results if result.vectors is not None]
    sparse = [vector for result in results for vector in result.sparse or ()]
    tokens = [each for result in results for each in result.multi_vectors or ()]
    return EmbeddingResult(
        np.concatenate(vectors) if vectors else None,
        sum(result.prompt_tokens for result in results),
        [
            replace(cut, index=cut.index + number * part_size)
            for number, result in enumerate(results)
            for cut in result.truncated
        ],
        timings,
        sparse=sparse or None,
        multi_vectors=tokens or None,
    )


def _renumbered(error: InvalidRequestError, input_name: str, start: int) -> InvalidRequestError:
    """The error with the index of the text in the whole batch."""
    name, _, index = (error.param or "").rpartition(".")
    if name != input_name or not index.isdigit():
        return error
    param = f"{name}.{int(index) + start}"
    return type(error)(error.message.replace(f"{name}.{index}", param, 1), param=param)
