"""The OpenVINO engine, for CPUs: faster than torch there, and a fraction of its memory."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import openvino as ov
from filelock import FileLock
from numpy.typing import NDArray

from models.facts import ModelFacts
from models.files import write_text
from models.integrity import is_whole
from runners.backends.batches import PaddedBatch, UnpaddedBatch
from runners.backends.compiled_cache import compile_graph, compile_once
from runners.backends.footprint import (
    LOGIT_TOKENS,
    LONG_TEXT_TOKENS,
    PADDED_INPUTS,
    UNSHARED_INPUTS,
    GraphFootprint,
    LayerWidths,
    OutputWidths,
)
from runners.backends.token_outputs import all_wanted, bounds_of, split
from runners.contracts import Backend, BatchShape, Forward, Rows, TextOutputs, TokenSequences, Wanted
from runners.devices import RequestedDType, return_memory
from runners.pool.capacity import BYTES_PER_PARAMETER, KEPT_BYTES, has_fast_lane

EXPORT_VERSION = "5"
"""Raised when the exported files change meaning; part of their folder's name."""
EARLIER_VERSIONS = ("4", "3", "2")
"""Exports that serve until there is a newer one: without the states of tokens; of 3, texts share no rows of attention;
of 2, long texts take more memory."""
REPORT = "report.json"
BODY, HEAD = "body.xml", "head.xml"
TOKENS, VOCABULARY = "tokens.xml", "vocabulary.xml"
"""The heads of other outputs than rows: from states of tokens to weights and vectors, and to a vocabulary."""
LENGTH_STEP = 8
"""Passes of more than 64 tokens are rounded to a multiple of it (`_step`)."""
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
            "ENABLE_CPU_PINNING": False,  # processes pin to the same first cores, although others are idle
        }
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._body_path = folder / BODY
        body = self._compile_body()
        self._body: Any = body
        self.has_states = len(body.outputs) > 1
        self._compiling = threading.Lock()
        inputs = len(body.inputs)
        self._unpadded, self._shares = inputs > PADDED_INPUTS, inputs > UNSHARED_INPUTS
        self.padding_cost = SHARED_ATTENTION if self._shares else PADDED_ATTENTION if self._unpadded else 1.0
        head = folder / HEAD
        exact = self._options | {"INFERENCE_PRECISION_HINT": "f32"}
        self._head = self._compile(head, exact) if head.is_file() else None
        tokens, vocabulary = folder / TOKENS, folder / VOCABULARY
        self._tokens = self._compile(tokens, exact) if tokens.is_file() else None
        self._vocabulary = self._compile(vocabulary, self._options) if vocabulary.is_file() else None
        self._requests = threading.local()  # a request that two threads share raises "Infer Request is busy"

    def infer(self, batch: PaddedBatch) -> Rows:
        """(B, T) ids -> (B, D) rows."""
        requests = self._own_requests()
        self._run_body(requests, batch)
        return self._rows(requests)

    def infer_outputs(self, batch: PaddedBatch, bounds: NDArray[np.int64], wanted: Wanted) -> dict[Wanted, Rows]:
        """(B, T) ids of texts that begin at `bounds` -> the wanted outputs, in the shapes of Network.outputs.

        The arrays are those of the requests, which the next pass overwrites.
        """
        requests = self._own_requests()
        self._run_body(requests, batch)
        found: dict[Wanted, Rows] = {Wanted.DENSE: self._rows(requests)} if Wanted.DENSE in wanted else {}
        if wanted == Wanted.DENSE:
            return found
        states = requests.body.get_output_tensor(1).data
        states = states[: bounds[-1]] if self._unpadded else states[batch.text_mask.astype(bool)]
        if Wanted.STATES in wanted:
            found[Wanted.STATES] = states
        if requests.tokens is not None and wanted & (Wanted.SPARSE | Wanted.TOKENS):
            requests.tokens.infer([states], share_inputs=True)
            for place, output in enumerate((Wanted.SPARSE, Wanted.TOKENS)[-len(requests.tokens.model_outputs) :]):
                found[output] = requests.tokens.get_output_tensor(place).data
        if requests.vocabulary is not None and Wanted.SPARSE in wanted:
            found[Wanted.SPARSE] = _vocabulary_weights(requests.vocabulary, states, bounds)
        return found

    def _run_body(self, requests: _Requests, batch: PaddedBatch) -> None:
        arrays = batch.arrays()
        if self._unpadded:
            step = _step(int(batch.text_mask.sum()))
            arrays = UnpaddedBatch.of(batch, step, share=self._shares).arrays(shared=self._shares)
        requests.body.infer(arrays, share_inputs=True)

    def _rows(self, requests: _Requests) -> Rows:
        result = requests.body.get_output_tensor(0).data
        if requests.head is not None:
            requests.head.infer([result], share_inputs=True)
            result = requests.head.get_output_tensor(0).data
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

    def _own_requests(self) -> _Requests:
        if not hasattr(self._requests, "own"):
            with self._compiling:
                if self._body is None:
                    self._body = self._compile_body()
            graphs = (self._body, self._head, self._tokens, self._vocabulary)
            self._requests.own = _Requests(*(graph and graph.create_infer_request() for graph in graphs))
        own: _Requests = self._requests.own
        return own


class _Requests(NamedTuple):
    """The infer requests of one thread; None: the model has no such graph."""

    body: Any
    head: Any
    tokens: Any
    vocabulary: Any


def _vocabulary_weights(request: Any, states: Rows, bounds: NDArray[np.int64]) -> Rows:
    """States (N, H) -> (B, V) weights, at most LOGIT_TOKENS tokens at a time.

    Tokens are repeated in place of padding, which does not change a maximum.
    """
    pooled: Rows | None = None
    lengths = np.diff(bounds)
    parts = [
        (text, first, min(first + LOGIT_TOKENS, int(bounds[text + 1])))
        for text in np.argsort(-lengths, kind="stable").tolist()
        for first in range(int(bounds[text]), int(bounds[text + 1]), LOGIT_TOKENS)
    ]
    while parts:
        longest = max(end - first for _, first, end in parts)
        group, parts = parts[: max(1, LOGIT_TOKENS // longest)], parts[max(1, LOGIT_TOKENS // longest) :]
        places = np.array([np.minimum(np.arange(first, first + longest), end - 1) for _, first, end in group])
        request.infer([states, places], share_inputs=True)
        weights = request.get_output_tensor(0).data
        if pooled is None:
            pooled = np.zeros((len(lengths), weights.shape[1]), dtype=np.float32)
        for (text, _, _), row in zip(group, weights, strict=True):
            np.maximum(pooled[text], row, out=pooled[text])
    assert pooled is not None
    return pooled


def _step(tokens: int) -> int:
    """To which multiple a pass of `tokens` is rounded: it adds about a tenth at most, from 9 tokens on.

    Each new shape costs OpenVINO time once and memory for good, so larger passes, whose sizes are many, take larger
    steps. A pass of 10 tokens takes 20 % less time than one of 16 (all-MiniLM-L6-v2 on a Zen 1).
    """
    return 2 if tokens <= 32 else 4 if tokens <= 64 else LENGTH_STEP


def _rounded(length: int, step: int, facts: ModelFacts) -> int:
    return max(length, min(-(-length // step) * step, facts.max_tokens))


def round_length(batch: PaddedBatch, facts: ModelFacts) -> PaddedBatch:
    """The same batch padded to a multiple of its step, but never beyond the model's limit."""
    length = batch.input_ids.shape[1]
    target = _rounded(length, _step(batch.input_ids.size), facts)
    if target == length:
        return batch
    widths = ((0, 0), (0, target - length))
    segments = batch.token_type_ids
    return PaddedBatch(
        np.pad(batch.input_ids, widths, constant_values=facts.pad_id),
        np.pad(batch.attention_mask, widths),
        np.pad(batch.pooling_mask, widths),
        None if segments is None else np.pad(segments, widths),
        np.pad(batch.text_mask, widths),
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
        fast, dense = has_fast_lane(facts.parameters), "dense" in facts.outputs or facts.dimensions is None
        self._second = Graphs(folder, precision=precision, threads=threads, keep=True) if fast and dense else None
        self._has_outputs = graphs.has_states and _computes(folder, facts)
        self._facts = facts
        self._folder = folder
        self._threads = threads
        self.dtype = computed_in(precision, weights)
        self.weights_dtype = weights
        self._footprint = read_footprint(folder, BYTES_PER_PARAMETER[DTYPES[precision]])
        self._widths = widths
        self._output_widths = OutputWidths.of(facts, widths.hidden)
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

    def outputs(self, sequences: TokenSequences, *, exact: bool = False) -> list[TextOutputs]:
        """B sequences -> what each wants; in torch if the export does not compute it."""
        size = BatchShape.of(list(map(len, sequences)))
        # in a padded graph, every token attends to itself
        attended = self.padding_cost < 1 or not any(sequence.unattended for sequence in sequences)
        if not (self._has_outputs and attended) or self._suits_torch(size):
            return self._outputs_in_torch(sequences)
        graphs = Graphs(self._folder, precision="f32", threads=self._threads) if exact else self._graphs
        assert graphs is not None
        try:
            found = graphs.infer_outputs(self._batch(sequences), bounds_of(sequences), all_wanted(sequences))
            return split(sequences, found, self._facts.sparse)
        finally:
            if not _is_small(size) and self._graph_bytes(size) > KEPT_BYTES:
                graphs.free_pass_memory()

    def pass_bytes(self, size: BatchShape) -> int:
        """By the shapes of the graph's tensors."""
        outputs = self._output_widths.bytes(size)
        if _is_small(size):
            return outputs
        return outputs + (self._torch_bytes(size) if self._suits_torch(size) else self._graph_bytes(size))

    def _forward_in_torch(self, sequences: TokenSequences) -> Rows:
        with self._in_torch() as backend:
            return backend.forward(sequences)

    def _outputs_in_torch(self, sequences: TokenSequences) -> list[TextOutputs]:
        with self._in_torch() as backend:
            return backend.outputs(sequences)

    @contextlib.contextmanager
    def _in_torch(self) -> Iterator[Backend]:
        backend = self._load_torch()
        try:
            yield backend
        finally:
            backend.close()
            return_memory()

    def _suits_torch(self, size: BatchShape) -> bool:
        needed = self._graph_bytes(size)
        return needed > TORCH_BYTES and 2 * self._torch_bytes(size) < needed

    def _graph_bytes(self, size: BatchShape) -> int:
        longest = _rounded(size.longest, LENGTH_STEP, self._facts)
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


def _computes(folder: Path, facts: ModelFacts) -> bool:
    """Whether an export computes all outputs of a model, from the states of tokens."""
    if facts.sparse is not None and facts.sparse.kind == "vocabulary":
        return (folder / VOCABULARY).is_file()
    return (folder / TOKENS).is_file() or (facts.sparse is None and facts.multi_vector is None)


def _is_small(size: BatchShape) -> bool:
    return size.count * size.longest <= SMALL_PASS_TOKENS
