"""sentence-transformers and FlagEmbedding in their own processes, without a server.

A child process (`python -m benchmarks.libraries NAME DTYPE FOLDER...`, with the folders of the models) writes one JSON
line for each JSON line that it reads.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.child import Child
from benchmarks.outputs import PROBES, Answer, Output, OutputRow, weights
from benchmarks.statistics import Call, summary
from benchmarks.workload import COLBERT, M3, SPLADE

SENTENCE_TRANSFORMERS, FLAG_EMBEDDING = "sentence-transformers", "FlagEmbedding"
MODELS = {SENTENCE_TRANSFORMERS: (SPLADE, COLBERT), FLAG_EMBEDDING: (M3,)}
BATCH = 32  # texts; sentence-transformers' default

Found = dict[Output, list[Any]]
Compute = Callable[[list[str], tuple[Output, ...]], Found]
"""Texts to the outputs of each, in the types of the library."""


@dataclass
class Library:
    """The parent's side of the child process."""

    child: Child
    name: str

    @classmethod
    def start(cls, name: str, dtype: str, python: Path, folders: list[Path], log_path: Path) -> Library:
        """Load the models; RuntimeError on failure."""
        command = [str(python), "-m", "benchmarks.libraries", name, dtype, *map(str, folders)]
        return cls(Child.start(name, command, log_path), name)

    @property
    def version(self) -> str:
        """Of the library."""
        return str(self.child.facts)

    def computes(self, model: str) -> bool:
        """Whether the library reads this model."""
        return model in MODELS[self.name]

    def measure(self, row: OutputRow, window_s: float) -> dict[str, float]:
        """The figures of a row."""
        found: dict[str, float] = self._ask(row.model, row.wanted, row.texts, window_s)
        return found

    def answer(self, model: str, texts: list[str]) -> Answer:
        """All outputs of a model."""
        found = self._ask(model, PROBES[model], [texts], 0)
        return {output: [np.array(rows) for rows in each] for output, each in found.items()}

    def _ask(self, model: str, wanted: tuple[Output, ...], requests: Any, window_s: float) -> Any:
        return self.child.ask({"model": model, "wanted": wanted, "requests": requests, "window_s": window_s})

    def stop(self) -> None:
        """End the process."""
        self.child.stop()


def _sentence_transformers(dtype: str, folder: Path) -> Compute:
    import torch
    from sentence_transformers import MultiVectorEncoder, SparseEncoder

    kind = SparseEncoder if folder.name == SPLADE else MultiVectorEncoder
    model: Any = kind(str(folder), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})

    def encode(texts: list[str], wanted: tuple[Output, ...]) -> Found:
        (output,) = wanted
        return {output: list(model.encode_document(texts, batch_size=BATCH))}

    return encode


def _flag_embedding(dtype: str, folder: Path) -> Compute:
    from FlagEmbedding import BGEM3FlagModel  # type: ignore[import-not-found]  # in an environment of its own

    half = {"use_fp16": False, "use_bf16": dtype == "bfloat16"}
    model: Any = BGEM3FlagModel(str(folder), devices="cpu", batch_size=BATCH, **half)

    def every(texts: list[str], wanted: tuple[Output, ...]) -> Found:
        found = model.encode(
            texts,
            max_length=512,
            return_dense="dense" in wanted,
            return_sparse="sparse" in wanted,
            return_colbert_vecs="tokens" in wanted,
        )
        keys: dict[Output, str] = {"dense": "dense_vecs", "sparse": "lexical_weights", "tokens": "colbert_vecs"}
        return {output: list(found[keys[output]]) for output in wanted}

    return every


LOADERS = {SENTENCE_TRANSFORMERS: _sentence_transformers, FLAG_EMBEDDING: _flag_embedding}


def measure(
    compute: Compute, requests: list[list[str]], wanted: tuple[Output, ...], window_s: float
) -> dict[str, float]:
    """Run requests in turn until the window ends."""
    calls: list[Call] = []
    start, cpu = time.perf_counter(), time.process_time()
    while not calls or calls[-1].answered_s < window_s:
        texts = requests[len(calls) % len(requests)]
        sent = time.perf_counter() - start
        compute(texts, wanted)
        calls.append(Call(sent, time.perf_counter() - start, len(texts)))
    used = {"cpu_ms": 1000 * (time.process_time() - cpu) / sum(call.items for call in calls)}
    return summary(calls, min(window_s, calls[-1].answered_s)) | used


def _rows(found: Any) -> list[list[float]]:
    """One output of a text as rows."""
    if isinstance(found, dict):
        return cast(list[list[float]], weights(found).tolist())
    if hasattr(found, "to_dense"):
        found = found.to_dense().float().numpy()
    return cast(list[list[float]], np.atleast_2d(found).tolist())


def main() -> None:
    """Process lines until stdin is closed."""
    import importlib.metadata

    name, dtype, *folders = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries must not print to stdout
    models = {Path(folder).name: LOADERS[name](dtype, Path(folder)) for folder in folders}
    print(json.dumps(importlib.metadata.version(name)), file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        compute, wanted, requests = models[question["model"]], tuple(question["wanted"]), question["requests"]
        if question["window_s"]:
            answer: Any = measure(compute, requests, wanted, question["window_s"])
        else:
            answer = {output: list(map(_rows, found)) for output, found in compute(requests[0], wanted).items()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
