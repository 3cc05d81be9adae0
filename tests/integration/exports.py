"""Tiny models that are converted for OpenVINO: how tests convert and load them, their batches, and equal rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from importing.openvino_export import export
from models.store import StoredModel
from runners.backends.openvino import Report
from runners.contracts import Backend, Rows, TokenSequence, TokenSequences
from runners.devices import Device
from runners.loading import load_backend
from settings import Settings
from tests.integration.architectures.workshop import Model
from tests.variant import THREADS

DEVICE = Device("cpu", "cpu", "float32", threads=THREADS, requested_dtype="float32")
ANY = replace(DEVICE, requested_dtype=None)
"""DTYPE=auto: weights in float16, computed in bfloat16 where the processor has it."""
AUTO, TORCH, OPENVINO = (Settings(backend=name) for name in ("auto", "torch", "openvino"))
LONG = 1100
"""Beyond the longest probe of the gate: errors of positions grow with the position."""
MAX_EXACT_SHARE = 3e-5
"""With DTYPE=float32, numbers differ from torch's by so much of the largest: the order of sums in float32."""

Exported = Callable[[str], tuple[Model, Report]]
"""Name -> a tiny model after its import and its conversion for DTYPE=float32, and the report of the accuracy."""


def convert(model: Model) -> Report:
    """For DTYPE=float32, as `load` wants it."""
    return export(model.stored.folder, model.spec, model.stored.facts, "float32")


def load(model: Model, settings: Settings = AUTO, device: Device = DEVICE) -> Backend:
    return load_backend(model.spec, model.stored, device, settings)


def batch_of(stored: StoredModel, *lengths: int) -> TokenSequences:
    """Random ids of these lengths."""
    facts, random = stored.facts, np.random.default_rng(sum(lengths))
    return [
        TokenSequence(ids, [0] * len(ids) if facts.token_type_ids else None)
        for ids in (random.integers(10, facts.vocabulary, size=length).tolist() for length in lengths)
    ]


def batches(stored: StoredModel) -> list[TokenSequences]:
    """From three tokens to the limit, alone and with neighbours of other lengths."""
    limit = min(stored.facts.max_tokens, LONG)
    lengths = sorted({min(length, limit) for length in (3, 17, 70, 513, limit)})
    mixed = [batch_of(stored, *lengths[:-1]), batch_of(stored, limit, 3), batch_of(stored, 1, 30, 70, 9, 1, 40)]
    return [batch_of(stored, length) for length in lengths] + mixed


def assert_same(found: Rows, expected: Rows) -> None:
    """Weights in float32 and numbers in float32: only the order of sums differs."""
    assert np.isfinite(found).all()
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= MAX_EXACT_SHARE * max(1.0, float(np.abs(expected).max()))
