"""Measure one model, in a process of its own, so that its memory is not mixed with that of others.

`python -m comparison.measure JOB.json` reads a Job and writes a Measured beside it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from comparison.data import Data, Text, read_data
from models.catalog import ModelSpec
from models.prompts import choose_prompt
from models.store import ModelStore, open_catalog
from runners.contracts import Reranker, Vectors
from runners.devices import detect
from runners.embedding import EmbeddingRunner
from runners.loading import load_model
from settings import load_settings

CHUNK = 256
"""Passages in one request."""
PARALLEL = 2
"""Requests at the same time, so that one is tokenised while another is computed."""


class Job(BaseModel, frozen=True):
    """What to measure."""

    model: str
    queries: Path
    passages: Path
    depth: int
    """Number of passages to keep of each ranking."""
    candidates: list[list[int]] = []
    """For a reranker: the places of the passages to sort, for each query."""


class Measured(BaseModel, frozen=True):
    """What came out."""

    rankings: list[list[int]]
    """For each query, the places of the passages, best first."""
    texts: int
    """Passages of an embedding model; pairs of a reranker."""
    tokens: int
    seconds: float
    """For all texts, without loading."""
    memory_bytes: int
    """The largest memory of the process; on a GPU, that of its memory."""
    backend: str


def result_path(job: Path) -> Path:
    """Where the result of a job is written."""
    return job.with_suffix(".result.json")


def main() -> None:
    """Measure the job that the command names."""
    path = Path(sys.argv[1])
    job = Job.model_validate_json(path.read_text(encoding="utf-8"))
    data = read_data(job.queries, job.passages)
    settings = load_settings()
    store = ModelStore()
    spec = open_catalog(settings, store).get(job.model)
    device = detect(settings)
    model = load_model(spec, store.find(spec), device, settings)
    try:
        if isinstance(model.runner, EmbeddingRunner):
            measuring = _search(spec, model.runner, data, job.depth)
        else:
            assert model.runner is not None
            measuring = _sort(model.runner, data, job)
        rankings, texts, tokens, seconds = asyncio.run(measuring)
    finally:
        model.close()
    measured = Measured(
        rankings=rankings,
        texts=texts,
        tokens=tokens,
        seconds=seconds,
        memory_bytes=_memory(gpu=device.platform != "cpu"),
        backend=model.backend,
    )
    result_path(path).write_text(measured.model_dump_json(), encoding="utf-8")


async def _search(
    spec: ModelSpec, runner: EmbeddingRunner, data: Data, depth: int
) -> tuple[list[list[int]], int, int, float]:
    """Rank all passages by the cosine of their vectors; the time is that of embedding the passages."""
    started = time.perf_counter()
    passages, tokens = await _embed(runner, data.passages, choose_prompt(spec, input_type="document"))
    seconds = time.perf_counter() - started
    queries, _ = await _embed(runner, data.queries, choose_prompt(spec, input_type="query"))
    return [best(scores, depth) for scores in queries @ passages.T], len(data.passages), tokens, seconds


async def _embed(runner: EmbeddingRunner, texts: Sequence[Text], prompt: str) -> tuple[Vectors, int]:
    free = asyncio.Semaphore(PARALLEL)

    async def one(start: int) -> tuple[Vectors, int]:
        async with free:
            part = [each.text for each in texts[start : start + CHUNK]]
            result = await runner.embed(part, prompt=prompt)
        return result.dense, result.prompt_tokens

    parts = await asyncio.gather(*(one(start) for start in range(0, len(texts), CHUNK)))
    return np.concatenate([vectors for vectors, _ in parts]), sum(tokens for _, tokens in parts)


async def _sort(runner: Reranker, data: Data, job: Job) -> tuple[list[list[int]], int, int, float]:
    """Sort each query's candidates by their scores."""
    free = asyncio.Semaphore(PARALLEL)

    async def one(query: Text, candidates: list[int]) -> tuple[list[int], int]:
        async with free:
            result = await runner.rerank(query.text, [data.passages[place].text for place in candidates])
        return [candidates[place] for place in best(result.raw, job.depth)], result.prompt_tokens

    started = time.perf_counter()
    found = await asyncio.gather(*map(one, data.queries, job.candidates))
    seconds = time.perf_counter() - started
    pairs = sum(map(len, job.candidates))
    return [ranking for ranking, _ in found], pairs, sum(tokens for _, tokens in found), seconds


def best(scores: NDArray[np.floating[Any]], depth: int) -> list[int]:
    """The places of the highest scores, best first; the first of equal ones comes first."""
    return [int(place) for place in np.argsort(-scores, kind="stable")[:depth]]


def _memory(*, gpu: bool) -> int:
    if gpu:
        import torch

        return int(torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
