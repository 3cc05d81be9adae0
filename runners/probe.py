"""Run a prepared model once before it may enter the store."""

from __future__ import annotations

import numpy as np

from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.store import StoredModel
from runners.backends import Batch
from runners.batching import collate
from runners.devices import Device
from runners.loading import load_backend
from runners.tokenization import load_tokenizer

PROBE = "人工知能 means artificial intelligence."


def probe(spec: ModelSpec, stored: StoredModel) -> None:
    """Load the model in float32 on the CPU and look at its numbers; ModelUnavailableError where they are not finite.

    Loading refuses missing, unexpected and mis-shaped tensors.
    """
    tokenizer = load_tokenizer(stored.folder, spec, stored.facts)
    backend = load_backend(spec, stored, Device("cpu", "cpu", "float32", threads=1))
    try:
        if spec.kind == "embedding":
            sequences, _ = tokenizer.encode_texts([PROBE, "a"])
        else:
            sequences, _ = tokenizer.encode_pairs(PROBE, [PROBE, "a"])
        rows = backend.forward(Batch(**collate(sequences, stored.facts.pad_id)))
    finally:
        backend.close()
    if not np.isfinite(rows).all():
        raise ModelUnavailableError(f"{spec.repo} is refused: it answers a short text with NaN or infinity.")
    if spec.kind == "reranker" and rows.shape[1] != 1:
        raise ModelUnavailableError(f"{spec.repo} is refused: a reranker has one logit, this one has {rows.shape[1]}.")
