"""The rows for sparse vectors and token vectors: what they ask of each server, and its answers in one form."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import workload
from benchmarks.client import Group, Request
from benchmarks.processes import Running
from benchmarks.workload import COLBERT, DOCUMENT, M3, SPLADE

Output = Literal["dense", "sparse", "tokens"]
Rows = NDArray[np.float64]
Answer = dict[Output, list[Rows]]
"""Of each text: a vector (1, D), the weights of the vocabulary (1, V), or a vector for each token (T, D)."""

ALL: tuple[Output, ...] = ("dense", "sparse", "tokens")
SPARSE: tuple[Output, ...] = ("sparse",)
TOKENS: tuple[Output, ...] = ("tokens",)
OUTPUTS = (M3, SPLADE, COLBERT)
"""The models of these rows."""
PROBES: dict[str, tuple[Output, ...]] = {M3: ALL, SPLADE: SPARSE, COLBERT: TOKENS}
VOCABULARY = 30_522
VLLM_TASKS: dict[tuple[str, tuple[Output, ...]], str] = {
    (M3, SPARSE): "token_classify",
    (SPLADE, SPARSE): "embed",
    (COLBERT, TOKENS): "token_embed",
}
"""A process of vLLM computes one output."""


@dataclass(frozen=True)
class OutputRow:
    """Lists of texts that one connection sends in turn, and what it asks for."""

    key: str
    model: str
    wanted: tuple[Output, ...]
    texts: tuple[tuple[str, ...], ...]

    def runs_on(self, server: Running) -> bool:
        """Whether the server computes these outputs."""
        return server.api == "ours" or (self.model, self.wanted) in VLLM_TASKS

    def group(self, server: Running) -> Group:
        """The requests to a server."""
        port = server.ports[self.model]
        return Group("all", 1, [request(server.api, port, self.model, self.wanted, list(each)) for each in self.texts])


def _batches(count: int, size: int) -> tuple[tuple[str, ...], ...]:
    texts = workload.passages(count * size, seed=10)
    return tuple(tuple(texts[start : start + size]) for start in range(0, len(texts), size))


EIGHTS, BULK, QUARTER = _batches(16, 8), _batches(1, 512), _batches(1, 128)
OUTPUT_ROWS = (
    OutputRow("splade_8", SPLADE, SPARSE, EIGHTS),
    OutputRow("splade_512", SPLADE, SPARSE, BULK),
    OutputRow("colbert_8", COLBERT, TOKENS, EIGHTS),
    OutputRow("colbert_512", COLBERT, TOKENS, BULK),
    OutputRow("m3_sparse_8", M3, SPARSE, EIGHTS),
    OutputRow("m3_sparse_512", M3, SPARSE, BULK),
    OutputRow("m3_dense_8", M3, ("dense",), EIGHTS),
    OutputRow("m3_all_8", M3, ALL, EIGHTS),
    OutputRow("m3_dense_128", M3, ("dense",), QUARTER),
    OutputRow("m3_all_128", M3, ALL, QUARTER),
)
OUTPUT_KEYS = tuple(row.key for row in OUTPUT_ROWS)


def models_of(keys: Collection[str]) -> tuple[str, ...]:
    """The models of these rows."""
    needed = {row.model for row in OUTPUT_ROWS if row.key in keys}
    return tuple(model for model in OUTPUTS if model in needed)


def request(api: str, port: int, model: str, wanted: tuple[Output, ...], texts: list[str]) -> Request:
    """One request for these outputs; numbers are in base64, where the server has it."""
    if api == "vllm":
        path = "/v1/embeddings" if model == SPLADE else "/pooling"
        texts = [DOCUMENT + text for text in texts] if model == COLBERT else texts
        body: dict[str, Any] = {"model": model, "input": texts, "encoding_format": "base64"}
    elif model == COLBERT:
        path, body = "/v1/multi-vector", {"model": model, "input": texts, "embedding_type": "base64"}
    else:
        path, body = "/v1/embeddings", {"model": model, "input": texts, "encoding_format": "base64"}
        fields = {"dense": "return_dense", "sparse": "return_sparse", "tokens": "return_colbert_vecs"}
        body |= {field: output in wanted for output, field in fields.items()}
    return Request(port, path, json.dumps(body), len(texts))


def answer_of(api: str, model: str, texts: list[str], content: dict[str, Any]) -> Answer:
    """The answer of a server to `request`."""
    items = sorted(content["data"], key=lambda item: item["index"])
    if api == "vllm":
        return _vllm_answer(model, texts, items)
    found: Answer = {}
    if model == COLBERT:
        return {"tokens": [_stacked(item["embeddings"]) for item in items]}
    if "embedding" in items[0]:
        found["dense"] = [_decoded(item["embedding"])[None] for item in items]
    if "colbert_vecs" in items[0]:
        found["tokens"] = [_stacked(item["colbert_vecs"]) for item in items]
    found["sparse"] = [
        weights(dict(zip(*(item["sparse_embedding"][key] for key in ("indices", "values")), strict=True)))
        for item in items
    ]
    return found


def _vllm_answer(model: str, texts: list[str], items: list[dict[str, Any]]) -> Answer:
    found = [_decoded(item["embedding" if model == SPLADE else "data"]) for item in items]
    if model == SPLADE:
        return {"sparse": [row[None] for row in found]}
    if model == COLBERT:
        return {"tokens": [row.reshape(-1, 96) for row in found]}
    ids = [text.ids[1:-1] for text in _tokenizer().encode_batch(texts)]
    return {"sparse": [_largest(each, row) for each, row in zip(ids, found, strict=True)]}


def _largest(ids: list[int], values: Rows) -> Rows:
    row = np.zeros((1, VOCABULARY))
    np.maximum.at(row[0], ids, values)
    return row


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    from benchmarks.checkpoints import minilm_folder

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def weights(of: Mapping[Any, float]) -> Rows:
    """Weights by token id -> (1, V)."""
    row = np.zeros((1, VOCABULARY))
    row[0, [int(each) for each in of]] = list(of.values())
    return row


def _decoded(text: str) -> Rows:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


def _stacked(rows: list[str]) -> Rows:
    return np.stack([_decoded(row) for row in rows])


def smallest_cosine(found: Answer, expected: Answer) -> float:
    """Of the vectors of two answers; -1 if they have different numbers of them."""
    smallest = 1.0
    for output in found.keys() & expected.keys():
        for ours, theirs in zip(found[output], expected[output], strict=True):
            if ours.shape != theirs.shape:
                return -1.0
            lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
            smallest = min(smallest, float(((ours * theirs).sum(axis=1) / lengths).min()))
    return smallest
