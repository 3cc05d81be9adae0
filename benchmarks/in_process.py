"""OpenVINO with the same work in one process, without a server, a queue or JSON.

A child process (`python -m benchmarks.in_process EMBEDDER_FOLDER RERANKER_FOLDER`), which writes one JSON line for each
JSON line that it reads. The work of several connections is merged, sorted by length and divided into batches by cost,
as in an ideal server whose requests all arrive at once.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.child import Child
from benchmarks.machine import precision
from benchmarks.statistics import Call, summary

MAX_BATCH_TOKENS = 1024  # measured: above 512, throughput is constant and latency grows
CALL_COST_TOKENS = 32  # measured fixed cost of a forward pass
MAX_TOKENS = {"embed": 256, "rerank": 512}

Rows = NDArray[np.float32]


def cuts(lengths: list[int]) -> list[tuple[int, int]]:
    """Divide sorted lengths into batches [start, end) with the fewest padded tokens and fixed costs."""
    best = [0.0] * (len(lengths) + 1)
    origin = [0] * (len(lengths) + 1)
    for end in range(1, len(lengths) + 1):
        longest = lengths[end - 1]
        first = max(0, min(end - 1, end - MAX_BATCH_TOKENS // longest))
        best[end], origin[end] = min(
            (best[start] + longest * (end - start) + CALL_COST_TOKENS, start) for start in range(first, end)
        )
    found: list[tuple[int, int]] = []
    end = len(lengths)
    while end:
        found.append((origin[end], end))
        end = origin[end]
    return found[::-1]


class Model:
    """A compiled checkpoint: texts or pairs to vectors or scores."""

    def __init__(self, folder: Path, kind: str, precision: str) -> None:
        import openvino
        from tokenizers import Tokenizer

        self._kind = kind
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS[kind])
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        compiled = openvino.Core().compile_model(_converted(folder, kind), "CPU", hints)
        self._request = compiled.create_infer_request()

    def run(self, inputs: list[Any]) -> Rows:
        """N texts or pairs -> (N, H) unit vectors or (N, 1) scores, in order."""
        encodings = self._tokenizer.encode_batch(inputs)
        order = sorted(range(len(inputs)), key=lambda index: len(encodings[index].ids))
        lengths = [len(encodings[index].ids) for index in order]
        rows: list[Rows] = [np.empty(0, np.float32)] * len(inputs)
        for start, end in cuts(lengths):
            shape = (end - start, lengths[end - 1])
            ids, mask, types = (np.zeros(shape, np.int64) for _ in range(3))
            for row, index in enumerate(order[start:end]):
                length = lengths[start + row]
                ids[row, :length] = encodings[index].ids
                types[row, :length] = encodings[index].type_ids
                mask[row, :length] = 1
            self._request.infer([ids, mask, types], share_inputs=True)
            for row, index in enumerate(order[start:end]):
                rows[index] = self._request.get_output_tensor(0).data[row].copy()
        found = np.stack(rows)
        if self._kind == "rerank":
            return (1 / (1 + np.exp(-found))).astype(np.float32)
        unit: Rows = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit


def _converted(folder: Path, kind: str) -> Any:
    import openvino
    import torch
    from transformers import BertForSequenceClassification, BertModel

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            states = self.body(input_ids=ids, attention_mask=mask, token_type_ids=types)[0]
            kept = mask.unsqueeze(-1).to(states.dtype)
            return (states * kept).sum(1) / kept.sum(1)

    class Scored(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = BertForSequenceClassification.from_pretrained(folder).eval()

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.body(input_ids=ids, attention_mask=mask, token_type_ids=types)[0]

    ids = torch.randint(5, 1000, (3, 23))
    mask = torch.ones_like(ids)
    mask[0, 15:] = 0
    with torch.no_grad():
        module = Pooled() if kind == "embed" else Scored()
        return openvino.convert_model(module, example_input=(ids, mask, torch.zeros_like(ids)))


def measure(model: Model, requests: list[list[Any]], merge: int, window_s: float) -> dict[str, float]:
    """Run requests in turn, `merge` of them at a time, until the window ends."""
    calls: list[Call] = []
    start, turn = time.perf_counter(), 0
    while not calls or calls[-1].answered_s < window_s:
        together = [requests[(turn + number) % len(requests)] for number in range(merge)]
        turn += merge
        sent = time.perf_counter() - start
        model.run([text for request in together for text in request])
        calls.append(Call(sent, time.perf_counter() - start, sum(map(len, together))))
    return summary(calls, min(window_s, calls[-1].answered_s))


@dataclass
class InProcess:
    """The parent's side of the child process."""

    child: Child

    @classmethod
    def start(cls, embedder: Path, reranker: Path, log_path: Path) -> InProcess:
        """Convert and compile both models; RuntimeError on failure."""
        command = [sys.executable, "-m", "benchmarks.in_process", str(embedder), str(reranker)]
        return cls(Child.start("in-process", command, log_path))

    @property
    def facts(self) -> dict[str, str]:
        """OpenVINO's version, and the precision."""
        facts: dict[str, str] = self.child.facts
        return facts

    def ask(self, kind: str, requests: list[list[Any]], *, merge: int = 1, window_s: float = 0) -> Any:
        """Measure if there is a window; otherwise return the rows of the first request."""
        return self.child.ask({"kind": kind, "requests": requests, "merge": merge, "window_s": window_s})

    def stop(self) -> None:
        """End the process."""
        self.child.stop()


def main() -> None:
    """Process lines until stdin is closed."""
    import openvino

    folders = {"embed": Path(sys.argv[1]), "rerank": Path(sys.argv[2])}
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries must not print to stdout
    models = {kind: Model(folder, kind, precision()) for kind, folder in folders.items()}
    print(json.dumps({"version": openvino.__version__, "precision": precision()}), file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        model, requests = models[question["kind"]], question["requests"]
        if question["window_s"]:
            answer: Any = measure(model, requests, question["merge"], question["window_s"])
        else:
            answer = model.run(requests[0]).tolist()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
