"""The rows: their requests, connections and metrics in the table."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks import workload
from benchmarks.client import Group, Request
from benchmarks.outputs import OUTPUT_KEYS, OUTPUT_ROWS
from benchmarks.processes import Running
from benchmarks.workload import EMBEDDER, RERANKER, VARIANTS

EMBEDDINGS, RERANK = "/v1/embeddings", "/v1/rerank"
PAIR, MANY = (EMBEDDER, RERANKER), VARIANTS
"""The two sets of models that servers serve."""

Kind = Literal["embed", "rerank"]
Ports = Mapping[str, int]
PAUSE_S = 0.05  # between the searches of a client; without it, faster servers would get more requests


@dataclass(frozen=True)
class Row:
    """Requests in turn, the same for all connections. `inputs`: lists of texts, or of a query and its documents."""

    key: str
    kind: Kind
    connections: int
    inputs: tuple[tuple[str, ...], ...]

    def requests(self, ports: Ports) -> list[Request]:
        """The row's bodies for a server."""
        if self.kind == "embed":
            return [_embeddings(ports, list(texts)) for texts in self.inputs]
        return [_rerank(ports, query, list(documents)) for query, *documents in self.inputs]

    def group(self, server: Running) -> Group:
        """The requests to a server."""
        return Group("all", self.connections, self.requests(server.ports))

    def in_process(self) -> list[list[Any]]:
        """The same work as texts or pairs."""
        if self.kind == "embed":
            return [list(texts) for texts in self.inputs]
        return [[[query, document] for document in documents] for query, *documents in self.inputs]


def _embeddings(ports: Ports, texts: list[str], model: str = EMBEDDER) -> Request:
    return Request(ports[model], EMBEDDINGS, workload.embeddings_body(texts, model).decode(), len(texts))


def _rerank(ports: Ports, query: str, documents: list[str]) -> Request:
    return Request(ports[RERANKER], RERANK, workload.rerank_body(query, documents).decode(), len(documents))


def _batches(count: int, size: int, *, seed: int) -> tuple[tuple[str, ...], ...]:
    texts = workload.passages(count * size, seed=seed)
    return tuple(tuple(texts[start : start + size]) for start in range(0, len(texts), size))


def _questions(count: int, documents: int, *, seed: int) -> tuple[tuple[str, ...], ...]:
    queries = workload.short_texts(count, seed=seed)
    batches = _batches(count, documents, seed=seed)
    return tuple((query, *batch) for query, batch in zip(queries, batches, strict=True))


SINGLES = tuple((text,) for text in workload.short_texts(512, seed=1))
EIGHTS = _batches(64, 8, seed=2)
BULK = _batches(4, 512, seed=3)
TWENTIES = _questions(16, 20, seed=4)
HUNDREDS = _questions(4, 100, seed=5)

ROWS = (
    Row("single_1", "embed", 1, SINGLES),
    Row("single_16", "embed", 16, SINGLES),
    Row("single_64", "embed", 64, SINGLES),
    Row("passages_8_1", "embed", 1, EIGHTS),
    Row("passages_8_8", "embed", 8, EIGHTS),
    Row("passages_512", "embed", 1, BULK),
    Row("rerank_20_1", "rerank", 1, TWENTIES),
    Row("rerank_20_8", "rerank", 8, TWENTIES),
    Row("rerank_100", "rerank", 1, HUNDREDS),
)
MIXED, MANY_MODELS, COLD_START, MEMORY = "mixed", "many_models", "cold_start", "memory"
PAIR_KEYS = (*(row.key for row in ROWS), MIXED, COLD_START, MEMORY)
KEYS = (*PAIR_KEYS, MANY_MODELS, *OUTPUT_KEYS)


def singles(ports: Ports) -> Group:
    """A client that sends single searches with pauses."""
    return Group("singles", 1, [_embeddings(ports, list(texts)) for texts in SINGLES], PAUSE_S)


def bulk(ports: Ports) -> Group:
    """Two clients that embed a corpus without pause."""
    return Group("bulk", 2, [_embeddings(ports, list(texts)) for texts in BULK])


def many_models(ports: Ports) -> Group:
    """Passages for eight models in random order."""
    rng = random.Random(6)
    texts = workload.passages(512, seed=6)
    return Group("all", 8, [_embeddings(ports, [text], rng.choice(VARIANTS)) for text in texts])


@dataclass(frozen=True)
class Metric:
    """One line of the table: a figure of a row, its unit and its direction."""

    row: str
    figure: str
    title: str
    unit: str
    higher_is_better: bool
    target: float | None = None
    """Target factor to the best peer; None: no target."""
    relative: bool = False

    @property
    def key(self) -> str:
        """Unique among all metrics."""
        return f"{self.row}.{self.figure}"


ONE_TEXT, MANY_TEXTS, SAME, OUTPUTS = 2.0, 1.15, 1.0, 1.5
"""Targets."""


def _output_metrics() -> Iterator[Metric]:
    """Speed and processor time of the rows for sparse vectors and token vectors."""
    names = {"splade": "SPLADE", "colbert": "ColBERT", "m3": "bge-m3's layout"}
    for row in OUTPUT_ROWS:
        model, wanted = row.key.split("_")[:2]
        outputs = {"all": ", all three outputs", "sparse": ", sparse", "dense": ", dense"}.get(wanted, "")
        title = f"{names[model]}{outputs}, {len(row.texts[0])} passages"
        target = None if wanted == "dense" else OUTPUTS
        yield Metric(row.key, "items_per_s", title, "texts/s", True, target)
        yield Metric(row.key, "cpu_ms", f"{title}, processor time", "ms/text", False, target)


METRICS = (
    Metric("single_1", "p50_ms", "one short text, 1 connection, p50", "ms", False, ONE_TEXT),
    Metric("single_16", "items_per_s", "one short text, 16 connections", "texts/s", True, ONE_TEXT),
    Metric("single_64", "items_per_s", "one short text, 64 connections", "texts/s", True, ONE_TEXT),
    Metric("passages_8_1", "items_per_s", "8 passages of mixed length, 1 connection", "texts/s", True, MANY_TEXTS),
    Metric("passages_8_8", "items_per_s", "8 passages of mixed length, 8 connections", "texts/s", True, MANY_TEXTS),
    Metric("passages_512", "items_per_s", "512 passages in one request", "texts/s", True, MANY_TEXTS),
    Metric("rerank_20_1", "p50_ms", "rerank 20 documents, 1 connection, p50", "ms", False, MANY_TEXTS),
    Metric("rerank_20_8", "items_per_s", "rerank 20 documents, 8 connections", "docs/s", True, MANY_TEXTS),
    Metric("rerank_100", "p50_ms", "rerank 100 documents, p50", "ms", False, MANY_TEXTS),
    Metric(MIXED, "idle_p50_ms", "single texts, nothing else running, p50", "ms", False, ONE_TEXT),
    Metric(MIXED, "idle_p99_ms", "single texts, nothing else running, p99", "ms", False, ONE_TEXT),
    Metric(MIXED, "loaded_p50_ms", "single texts beside two bulk clients, p50", "ms", False, ONE_TEXT),
    Metric(MIXED, "loaded_p99_ms", "single texts beside two bulk clients, p99", "ms", False, ONE_TEXT),
    Metric(MIXED, "bulk_per_s", "two bulk clients beside single texts", "texts/s", True, MANY_TEXTS),
    Metric(MIXED, "bulk_share", "bulk beside single texts, of bulk alone", "%", True, relative=True),
    Metric(MANY_MODELS, "items_per_s", "8 models at random, 8 connections", "texts/s", True, ONE_TEXT),
    Metric(MANY_MODELS, "p99_ms", "8 models at random, 8 connections, p99", "ms", False, ONE_TEXT),
    Metric(COLD_START, "start_s", "from the command to the first answers", "s", False, SAME),
    Metric(MEMORY, "rest_mb", "memory at rest", "MB", False),
    Metric(MEMORY, "peak_mb", "memory at its peak", "MB", False),
    *_output_metrics(),
)
