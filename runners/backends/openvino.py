"""The OpenVINO engine, for CPUs: faster than torch there, and a fraction of its memory."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from models.facts import ModelFacts
from models.integrity import is_whole
from runners.backends import Rows, Sequences
from runners.backends.batches import Batch, UnpaddedBatch
from runners.devices import DType
from runners.requirements import has_fast_lane

EXPORT_VERSION = "2"
"""Raised when the exported files change meaning; part of their folder's name."""
REPORT = "report.json"
LENGTH_STEP = 8
PADDED_ATTENTION = 0.15
"""What a token of padding costs where only attention computes it (MiniLM: 0.12 beside 128 tokens, 0.2 beside 256)."""
_CACHED_SHAPES = 128

Report = dict[str, str | None]
"""Inference precision -> None where it is as good as torch's float32, else what is wrong with it."""


def export_folder(model_folder: Path) -> Path:
    """Where the files of this OpenVINO and this version of the export lie."""
    release = ov.get_version().split("-")[0]
    return model_folder / "openvino" / f"{release}-{EXPORT_VERSION}"


def read_report(folder: Path) -> Report | None:
    """The accuracy gate's report; None where nothing was exported yet, or what was is damaged by now."""
    path = folder / REPORT
    if not path.is_file() or not is_whole(folder):
        return None
    report: Report = json.loads(path.read_text(encoding="utf-8"))
    return report


def precisions() -> list[str]:
    """Inference precisions of this processor, the exact one first."""
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["f32", "bf16"] if "BF16" in capabilities else ["f32"]


def choose_precision(report: Report, dtype: DType | None) -> str | None:
    """What to run in; None where the gate let nothing pass. bf16 where it passed, unless DTYPE=float32."""
    if dtype in (None, "bfloat16") and "bf16" in precisions() and report.get("bf16", "missing") is None:
        return "bf16"
    return "f32" if report["f32"] is None else None


class Graphs:
    """Compiled body and head of one exported network."""

    def __init__(self, folder: Path, *, precision: str, threads: int) -> None:
        core = ov.Core()
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_SHAPES,
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self._body = core.compile_model(folder / "body.xml", "CPU", options)
        self.unpadded = any("places" in each.names for each in self._body.inputs)
        head = folder / "head.xml"
        exact = options | {"INFERENCE_PRECISION_HINT": "f32"}
        self._head = core.compile_model(head, "CPU", exact) if head.is_file() else None
        self._requests = threading.local()  # a request that two threads share raises "Infer Request is busy"

    def infer(self, batch: Batch) -> Rows:
        """(B, T) ids -> (B, D) rows."""
        body, head = self._own_requests()
        inputs = UnpaddedBatch.of(batch, LENGTH_STEP) if self.unpadded else batch
        body.infer(inputs.arrays(), share_inputs=True)
        result = body.get_output_tensor(0).data
        if head is not None:
            head.infer([result], share_inputs=True)
            result = head.get_output_tensor(0).data
        rows: Rows = result.copy()  # the request's own memory is overwritten by its next call
        return rows

    def _own_requests(self) -> tuple[Any, Any]:
        if not hasattr(self._requests, "pair"):
            head = None if self._head is None else self._head.create_infer_request()
            self._requests.pair = (self._body.create_infer_request(), head)
        pair: tuple[Any, Any] = self._requests.pair
        return pair


def round_length(batch: Batch, facts: ModelFacts) -> Batch:
    """The same batch padded to a multiple of LENGTH_STEP tokens, but never beyond the model's limit.

    Each new shape costs OpenVINO time once and memory for good; steps of 8 cost nothing (OPENVINO.md, section 3).
    """
    length = batch.input_ids.shape[1]
    target = max(length, min(-(-length // LENGTH_STEP) * LENGTH_STEP, facts.max_tokens))
    if target == length:
        return batch
    widths = ((0, 0), (0, target - length))
    segments = batch.token_type_ids
    return Batch(
        np.pad(batch.input_ids, widths, constant_values=facts.pad_id),
        np.pad(batch.attention_mask, widths),
        np.pad(batch.pooling_mask, widths),
        None if segments is None else np.pad(segments, widths),
    )


class OpenVINOBackend:
    """An exported network on this CPU."""

    overlaps = False
    memory_bytes = 0  # its files are memory-mapped: the system takes what it needs, and gives it back

    def __init__(self, folder: Path, facts: ModelFacts, *, precision: str, threads: int) -> None:
        graphs = Graphs(folder, precision=precision, threads=threads)
        self._graphs: Graphs | None = graphs
        self.padding_cost = PADDED_ATTENTION if graphs.unpadded else 1.0
        # A second request on the same compiled graphs would wait for the first: one stream serves them in turn
        self._second = Graphs(folder, precision=precision, threads=threads) if has_fast_lane(facts.parameters) else None
        self._facts = facts
        self._folder = folder
        self._threads = threads
        self.name = f"openvino {precision} on cpu"

    def forward(self, sequences: Sequences) -> Rows:
        """B sequences -> (B, D) vectors or (B, 1) logits."""
        assert self._graphs is not None
        return self._graphs.infer(self._batch(sequences))

    def _forward_beside(self, sequences: Sequences) -> Rows:
        assert self._second is not None
        return self._second.infer(self._batch(sequences))

    def forward_exact(self, sequences: Sequences) -> Rows:
        """The same with graphs compiled for float32, for this one pass."""
        return Graphs(self._folder, precision="f32", threads=self._threads).infer(self._batch(sequences))

    def _batch(self, sequences: Sequences) -> Batch:
        return round_length(Batch.of(sequences, self._facts.pad_id), self._facts)

    @property
    def beside(self) -> Callable[[Sequences], Rows] | None:
        """For small models, whose second copy costs little (OPENVINO.md, section 5)."""
        return None if self._second is None else self._forward_beside

    def close(self) -> None:
        """Drop the compiled graphs."""
        self._graphs = self._second = None
        gc.collect()
