"""The OpenVINO engine, for CPUs: faster than torch there, and a fraction of its memory."""

from __future__ import annotations

import gc
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino as ov
from filelock import FileLock

from models.facts import ModelFacts
from models.files import write_text
from models.integrity import is_whole
from runners.backends.batches import PaddedBatch, UnpaddedBatch
from runners.backends.compiled_cache import compile_graph, compile_once
from runners.backends.footprint import LONG_TEXT_TOKENS, PADDED_INPUTS, UNSHARED_INPUTS, GraphFootprint, LayerWidths
from runners.contracts import Backend, BatchShape, Forward, Rows, TokenSequences
from runners.devices import RequestedDType, return_memory
from runners.pool.capacity import BYTES_PER_PARAMETER, KEPT_BYTES, has_fast_lane

EXPORT_VERSION = "4"
"""Raised when the exported files change meaning; part of their folder's name."""
EARLIER_VERSIONS = ("3", "2")
"""Exports that serve until there is a newer one: texts share no rows of attention, and of 2, long texts take more
memory."""
REPORT = "report.json"
BODY, HEAD = "body.xml", "head.xml"
LENGTH_STEP = 8
PADDED_ATTENTION = 0.15
"""What a token of padding costs where only attention computes it (MiniLM: 0.12 beside 128 tokens, 0.2 beside 256)."""
SHARED_ATTENTION = 0.08
"""The same where short texts share rows of attention (MiniLM: plans with 0.08 were faster than with 0.04 or 0.15)."""
SMALL_PASS_TOKENS = 1024
"""Tokens of a pass, padding included, up to which its memory is not worth a thought: it is part of the model's."""
TORCH_BYTES = 2**30
"""A pass that takes more goes to torch where that takes half of it at most, with its weights, which it loads first."""
_CACHED_SHAPES = 128
_QUANTIZATION_GROUP = 64
"""Activations that share a scale where they meet weights in int8. Groups of 32 are slower, groups of 128 less accurate
(docs/int8.md)."""

Report = dict[str, str | None]
"""Inference precision -> None where it is as good as torch's float32, else what is wrong with it.

`cost` holds the measured accuracy of int8.
"""
DTYPES = {"f32": "float32", "bf16": "bfloat16"}
"""Inference precision -> data type."""
Weights = Literal["float16", "float32", "int8"]
"""How an export stores the weights. float16 halves the files and the memory, and rounds what DTYPE=float32 keeps."""


def weights_for(dtype: RequestedDType | None) -> Weights:
    """Of the export for a DTYPE; None is auto."""
    return dtype if dtype in ("float32", "int8") else "float16"


def export_folder(model_folder: Path, weights: Weights = "float16", version: str = EXPORT_VERSION) -> Path:
    """Where the files of this OpenVINO and this version of the export lie."""
    release = ov.get_version().split("-")[0]
    suffix = "" if weights == "float16" else f"-{weights}"
    return model_folder / "openvino" / f"{release}-{version}{suffix}"


def find_export(model_folder: Path, weights: Weights = "float16") -> tuple[Path, Report] | None:
    """The newest export that was judged, and the report; None where nothing was exported yet."""
    for version in (EXPORT_VERSION, *EARLIER_VERSIONS):
        folder = export_folder(model_folder, weights, version)
        report = read_report(folder)
        if report is not None:
            return folder, report
    return None


def export_lock(folder: Path) -> FileLock:
    """Of several processes, one writes exports of a model."""
    return FileLock(folder.parent / ".lock")


def read_report(folder: Path) -> Report | None:
    """The accuracy gate's report; None where nothing was exported yet, or what was is damaged by now."""
    path = folder / REPORT
    if not path.is_file() or not is_whole(folder):
        return None
    report: Report = json.loads(path.read_text(encoding="utf-8"))
    return report


def write_report(folder: Path, report: Report) -> None:
    """Record what the accuracy gate found."""
    write_text(folder / REPORT, json.dumps(report, indent=2))


def record_failed_export(model_folder: Path, reason: str, weights: Weights) -> bool:
    """Record that a conversion failed, so that torch serves the model and the conversion is not retried.

    False, and nothing is recorded, if the model was converted nevertheless.
    """
    target = export_folder(model_folder, weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    with export_lock(target):
        if read_report(target) is not None:
            return False
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        write_report(target, {"f32": reason})
        return True


def precisions() -> list[str]:
    """Inference precisions of this processor, the exact one first."""
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["f32", "bf16"] if "BF16" in capabilities else ["f32"]


def passed_precisions(report: Report, dtype: RequestedDType | None) -> list[str]:
    """What an export may run in: bf16 where it passed the gate, unless DTYPE=float32; then f32 if it passed."""
    passed = []
    if dtype != "float32" and "bf16" in precisions() and report.get("bf16", "missing") is None:
        passed.append("bf16")
    if report["f32"] is None and not (passed and dtype == "bfloat16"):
        passed.append("f32")
    return passed


def computed_in(precision: str, weights: Weights) -> str:
    """The data type of the matrix products of an export."""
    return "int8" if weights == "int8" else DTYPES[precision]


class Graphs:
    """Compiled body and head of one exported network. `keep`: on disk, for the next load."""

    def __init__(self, folder: Path, *, precision: str, threads: int, streams: int = 1, keep: bool = False) -> None:
        self._compile = compile_once if keep else compile_graph
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": str(streams),
            "INFERENCE_PRECISION_HINT": precision,
            "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_SHAPES,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _QUANTIZATION_GROUP,
        }
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._body_path = folder / BODY
        body = self._compile_body()
        self._body: Any = body
        self._compiling = threading.Lock()
        inputs = len(body.inputs)
        self._unpadded, self._shares = inputs > PADDED_INPUTS, inputs > UNSHARED_INPUTS
        self.padding_cost = SHARED_ATTENTION if self._shares else PADDED_ATTENTION if self._unpadded else 1.0
        head = folder / HEAD
        exact = self._options | {"INFERENCE_PRECISION_HINT": "f32"}
        self._head = self._compile(head, exact) if head.is_file() else None
        self._requests = threading.local()  # a request that two threads share raises "Infer Request is busy"

    def infer(self, batch: PaddedBatch) -> Rows:
        """(B, T) ids -> (B, D) rows."""
        body, head = self._own_requests()
        arrays = batch.arrays()
        if self._unpadded:
            arrays = UnpaddedBatch.of(batch, LENGTH_STEP, share=self._shares).arrays(shared=self._shares)
        body.infer(arrays, share_inputs=True)
        result = body.get_output_tensor(0).data
        if head is not None:
            head.infer([result], share_inputs=True)
            result = head.get_output_tensor(0).data
        rows: Rows = result.copy()  # the request's own memory is overwritten by its next call
        return rows

    def free_pass_memory(self) -> None:
        """Free the memory of passes, which is kept for the next one otherwise.

        Passes that are running keep the compiled body until they end; the next pass compiles it anew. OpenVINO's own
        release_memory() is no way: after it, passes answered with the rows of earlier ones or with none (OpenVINO
        2026.4.1).
        """
        self._requests = threading.local()
        self._body = None
        return_memory()

    def _compile_body(self) -> Any:
        return self._compile(self._body_path, self._options)

    def _own_requests(self) -> tuple[Any, Any]:
        if not hasattr(self._requests, "pair"):
            with self._compiling:
                if self._body is None:
                    self._body = self._compile_body()
            head = None if self._head is None else self._head.create_infer_request()
            self._requests.pair = (self._body.create_infer_request(), head)
        pair: tuple[Any, Any] = self._requests.pair
        return pair


def _rounded(length: int, facts: ModelFacts) -> int:
    return max(length, min(-(-length // LENGTH_STEP) * LENGTH_STEP, facts.max_tokens))


def round_length(batch: PaddedBatch, facts: ModelFacts) -> PaddedBatch:
    """The same batch padded to a multiple of LENGTH_STEP tokens, but never beyond the model's limit.

    Each new shape costs OpenVINO time once and memory for good; rounding to steps of 8 tokens costs no time.
    """
    length = batch.input_ids.shape[1]
    target = _rounded(length, facts)
    if target == length:
        return batch
    widths = ((0, 0), (0, target - length))
    segments = batch.token_type_ids
    return PaddedBatch(
        np.pad(batch.input_ids, widths, constant_values=facts.pad_id),
        np.pad(batch.attention_mask, widths),
        np.pad(batch.pooling_mask, widths),
        None if segments is None else np.pad(segments, widths),
    )


class OpenVINOBackend:
    """An exported network on this CPU. `load_torch` loads it once more, for texts that take torch less memory."""

    memory_bytes = 0  # its files are memory-mapped: the system takes what it needs, and gives it back

    def __init__(
        self,
        folder: Path,
        facts: ModelFacts,
        *,
        precision: str,
        streams: int = 1,
        weights: Weights,
        threads: int,
        widths: LayerWidths,
        load_torch: Callable[[], Backend],
    ) -> None:
        graphs = Graphs(folder, precision=precision, threads=threads, streams=streams, keep=True)
        self._graphs: Graphs | None = graphs
        self.concurrent_passes = streams
        self.padding_cost = graphs.padding_cost
        # A second request on the same compiled graphs would wait for the first: one stream serves them in turn
        fast = has_fast_lane(facts.parameters)
        self._second = Graphs(folder, precision=precision, threads=threads, keep=True) if fast else None
        self._facts = facts
        self._folder = folder
        self._threads = threads
        self.dtype = computed_in(precision, weights)
        self.weights_dtype = weights
        self._footprint = read_footprint(folder, BYTES_PER_PARAMETER[DTYPES[precision]])
        self._widths = widths
        self._load_torch = load_torch
        layout = f", {streams} streams" if streams > 1 else ""
        self.name = f"openvino {'int8+' if weights == 'int8' else ''}{precision} on cpu{layout}"

    def forward(self, sequences: TokenSequences) -> Rows:
        """B sequences -> (B, D) vectors or (B, 1) logits."""
        assert self._graphs is not None
        size = BatchShape.of(list(map(len, sequences)))
        if _is_small(size):
            return self._graphs.infer(self._batch(sequences))
        if self._suits_torch(size):
            return self._forward_in_torch(sequences)
        try:
            return self._graphs.infer(self._batch(sequences))
        finally:
            if self._graph_bytes(size) > KEPT_BYTES:
                self._graphs.free_pass_memory()

    def pass_bytes(self, size: BatchShape) -> int:
        """By the shapes of the graph's tensors."""
        if _is_small(size):
            return 0
        return self._torch_bytes(size) if self._suits_torch(size) else self._graph_bytes(size)

    def _forward_in_torch(self, sequences: TokenSequences) -> Rows:
        backend = self._load_torch()
        try:
            return backend.forward(sequences)
        finally:
            backend.close()
            return_memory()

    def _suits_torch(self, size: BatchShape) -> bool:
        needed = self._graph_bytes(size)
        return needed > TORCH_BYTES and 2 * self._torch_bytes(size) < needed

    def _graph_bytes(self, size: BatchShape) -> int:
        longest = _rounded(size.longest, self._facts)
        tokens = -(-size.tokens // LENGTH_STEP) * LENGTH_STEP
        return self._footprint.bytes(BatchShape(size.count, longest, tokens))

    def _torch_bytes(self, size: BatchShape) -> int:
        weights = self._facts.parameters * BYTES_PER_PARAMETER["float32"]
        packed = self.padding_cost < 1 and size.longest > LONG_TEXT_TOKENS
        return weights + self._widths.torch_bytes(size, packed=packed)

    def _forward_second(self, sequences: TokenSequences) -> Rows:
        assert self._second is not None
        return self._second.infer(self._batch(sequences))

    def forward_exact(self, sequences: TokenSequences) -> Rows:
        """The same with graphs compiled for float32, for this one pass."""
        if self._suits_torch(BatchShape.of(list(map(len, sequences)))):
            return self._forward_in_torch(sequences)
        return Graphs(self._folder, precision="f32", threads=self._threads).infer(self._batch(sequences))

    def _batch(self, sequences: TokenSequences) -> PaddedBatch:
        return round_length(PaddedBatch.of(sequences, self._facts.pad_id), self._facts)

    @property
    def second_forward(self) -> Forward | None:
        """For small models, whose second copy takes little memory."""
        return None if self._second is None else self._forward_second

    def close(self) -> None:
        """Drop the compiled graphs."""
        self._graphs = self._second = None
        gc.collect()


def read_footprint(folder: Path, float_bytes: int) -> GraphFootprint:
    """Of an exported body; RuntimeError where its shapes cannot be computed."""
    return GraphFootprint(ov.Core().read_model(folder / BODY), float_bytes)


def _is_small(size: BatchShape) -> bool:
    return size.count * size.longest <= SMALL_PASS_TOKENS
