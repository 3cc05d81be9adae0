"""Verify a model before it enters the store: run it once, and compare it with golden numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from errors import InternalError, ModelUnavailableError
from models.catalog import ModelSpec
from models.goldens import Golden
from models.store import StoredModel
from runners.batching.costs import SMALLEST_BUDGET
from runners.devices import Device, usable_cores
from runners.engine import Engine
from runners.loading import load_model
from runners.networks.pooling import normalize, sigmoid
from runners.pool.capacity import memory_budget, memory_needed
from settings import Settings

PROBES = ("人工知能 means artificial intelligence.", "a")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A golden check, and the largest absolute difference of this machine's numbers from it."""

    golden: Golden
    difference: float

    @property
    def passed(self) -> bool:
        """Whether the largest difference is within the check's tolerance."""
        return self.difference <= self.golden.tolerance


def verify(
    spec: ModelSpec, stored: StoredModel, settings: Settings, goldens: Sequence[Golden] = ()
) -> list[Comparison]:
    """Load on the CPU, in float32 if that fits; raise ModelUnavailableError if the model must not be served.

    Loading rejects missing, unexpected and mis-shaped tensors. This function rejects numbers that are not finite, more
    than one logit, and numbers that differ from the golden ones.
    """
    # use the reference engine, and do not tune the batch size
    reference = settings.model_copy(update={"backend": "torch", "max_batch_tokens": SMALLEST_BUDGET})
    model = load_model(spec, stored, _probe_device(stored, settings), reference)
    assert model.engine is not None
    try:
        _check_output(spec, model.engine)
        comparisons = [compare(golden, model.engine) for golden in goldens]
    finally:
        model.close()
    for result in comparisons:
        if not result.passed:
            raise ModelUnavailableError(
                f"{spec.repo} is refused: its {result.golden.what} differ by {result.difference:.4g} from those of "
                f"{result.golden.source} (tolerance {result.golden.tolerance:g})."
            )
    return comparisons


def compare(golden: Golden, engine: Engine) -> Comparison:
    """Recompute the golden numbers and compare them."""
    numbers = _recompute(golden, engine)
    expected = np.asarray(golden.expected)
    difference = float(np.abs(numbers - expected).max()) if np.isfinite(numbers).all() else float("inf")
    return Comparison(golden, difference)


def _recompute(golden: Golden, engine: Engine) -> Numbers:
    pairs = golden.text_pairs()
    if golden.what == "query_cosines":
        queries = _vectors(engine, [query for query, _ in pairs], golden.query_prompt)
        documents = _vectors(engine, [document for _, document in pairs], golden.document_prompt)
        return np.asarray((queries * documents).sum(axis=1), dtype=np.float64)
    sequences = [engine.tokenizer.encode_pairs(query, [document])[0][0] for query, document in pairs]
    logits = engine.run_now(sequences)[:, 0]
    if golden.what == "rerank_logits":
        return logits.astype(np.float64)
    if golden.what == "rerank_scores":
        return sigmoid(logits)
    assert_never(golden.what)


def _vectors(engine: Engine, texts: list[str], prompt: str) -> Numbers:
    sequences, _ = engine.tokenizer.encode_texts(texts, prompt)
    return normalize(engine.run_now(sequences)).astype(np.float64)


def _check_output(spec: ModelSpec, engine: Engine) -> None:
    if spec.kind == "embedding":
        sequences, _ = engine.tokenizer.encode_texts(PROBES)
    else:
        sequences, _ = engine.tokenizer.encode_pairs(PROBES[0], PROBES, spec.instruction or "")
    try:
        rows = engine.run_now(sequences)
    except InternalError as error:  # what the engine raises for NaN
        raise ModelUnavailableError(f"{spec.repo} is refused: it produced NaN or infinity for a short text.") from error
    if spec.kind == "reranker" and rows.shape[1] != 1:
        raise ModelUnavailableError(f"{spec.repo} is refused: a reranker must have 1 logit, not {rows.shape[1]}.")


def _probe_device(stored: StoredModel, settings: Settings) -> Device:
    device = Device("cpu", "cpu", "float32", settings.cpu_threads or usable_cores())
    if memory_needed(stored.facts.parameters, "float32") <= memory_budget(device, settings):
        return device
    return Device("cpu", "cpu", "bfloat16", device.threads)  # within the tolerances of the goldens
