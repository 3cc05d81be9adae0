"""Compares the vectors and scores of every server with ours, because only correct results may count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import outputs, workload
from benchmarks.in_process import InProcess
from benchmarks.measure import MeasurementError
from benchmarks.processes import Running, post
from benchmarks.rows import EMBEDDINGS, RERANK
from benchmarks.servers import INT8
from benchmarks.workload import EMBEDDER, RERANKER

MIN_COSINE = 0.999
MIN_COSINE_INT8 = 0.99
MIN_COSINE_OUTPUTS = 0.98  # of sparse vectors and token vectors; bfloat16 changes those of random weights
MAX_SCORE_DIFFERENCE = 0.4  # share of the scores' spread; bfloat16 changes scores of random weights by 0.25

TEXTS = [*workload.short_texts(8, seed=7), *workload.passages(24, seed=7)]
QUERY = workload.short_texts(1, seed=8)[0]
DOCUMENTS = workload.passages(24, seed=8)
OUTPUT_TEXTS = workload.passages(8, seed=11)


@dataclass(frozen=True)
class Answers:
    """A server's results for the probe: unit vectors (N, H) and scores (M,), in the order of the inputs."""

    vectors: NDArray[np.float64]
    scores: NDArray[np.float64]


def in_order(items: list[dict[str, Any]], key: str, count: int) -> list[Any]:
    """The values of `key` by `index`. MeasurementError unless each index occurs exactly once."""
    found = {item["index"]: item[key] for item in items}
    if len(items) != count or set(found) != set(range(count)):
        raise MeasurementError(f"{len(items)} items with indexes {sorted(found)[:5]}... instead of {count}")
    return [found[index] for index in range(count)]


def ask(running: Running) -> Answers:
    """Send the probe to a server."""
    embedded = _post(running.ports[EMBEDDER], EMBEDDINGS, workload.embeddings_body(TEXTS))
    vectors = np.array(in_order(embedded["data"], "embedding", len(TEXTS)), dtype=np.float64)
    ranked = _post(running.ports[RERANKER], RERANK, workload.rerank_body(QUERY, DOCUMENTS))
    return Answers(unit(vectors), np.array(in_order(ranked["results"], "relevance_score", len(DOCUMENTS))))


def ask_in_process(model: InProcess) -> Answers:
    """Compute the probe without a server."""
    vectors = np.array(model.ask("embed", [TEXTS]), dtype=np.float64)
    scores = np.array(model.ask("rerank", [[[QUERY, document] for document in DOCUMENTS]]))
    return Answers(unit(vectors), scores[:, 0])


def ask_outputs(running: Running, model: str, wanted: tuple[outputs.Output, ...]) -> outputs.Answer:
    """Send the probe for sparse vectors and token vectors to a server."""
    request = outputs.request(running.api, running.ports[model], model, wanted, OUTPUT_TEXTS)
    content = _post(request.port, request.path, request.body.encode())
    return outputs.answer_of(running.api, model, OUTPUT_TEXTS, content)


def _post(port: int, path: str, body: bytes) -> dict[str, Any]:
    status, content = post(port, path, body)
    if status != 200:
        raise MeasurementError(f"{path} answered {status}: {content[:200].decode(errors='replace')}")
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to length 1."""
    scaled: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def compare(name: str, answers: Answers, against: str, reference: Answers) -> dict[str, Any]:
    """The difference between two servers' results, and whether it is small enough."""
    cosine = float((answers.vectors * reference.vectors).sum(axis=1).min())
    difference = float(np.abs(answers.scores - reference.scores).max())
    spread = float(np.ptp(reference.scores))
    min_cosine = MIN_COSINE_INT8 if INT8 in (name, against) else MIN_COSINE
    return {
        "server": name,
        "against": against,
        "min_cosine": round(cosine, 6),
        "max_score_difference": round(difference, 5),
        "score_spread": round(spread, 4),
        "right": bool(cosine > min_cosine and difference < MAX_SCORE_DIFFERENCE * spread),
    }


def compare_outputs(
    name: str, model: str, found: outputs.Answer, against: str, expected: outputs.Answer
) -> dict[str, Any]:
    """The same for the sparse vectors and token vectors of one model."""
    cosine = outputs.smallest_cosine(found, expected)
    return {
        "server": name,
        "against": against,
        "model": model,
        "min_cosine": round(cosine, 6),
        "right": cosine > MIN_COSINE_OUTPUTS,
    }
