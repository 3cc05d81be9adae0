"""OpenVINO computes what torch computes, for every architecture that converts. The engine: ../test_openvino.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest

from runners.backends.openvino import BODY, find_export
from runners.contracts import Rows, SparseVector, Wanted
from tests.integration.exports import TORCH, Exported, assert_same, batch_of, batches, load

EMBEDDERS = [
    "multilingual-e5-small",  # BERT
    "ruri-v3-30m",  # ModernBERT, sliding window
    "all-mpnet-base-v2",
    "luke-japanese-base",
    "qwen3-embedding-0.6b",
    "embeddinggemma-300m",  # sliding window both ways, Dense layers as head
    "e5-mistral-7b",  # sliding window, causal
    "nv-embed-v2",
]
RERANKERS = [
    "bge-reranker-v2-m3",  # XLM-RoBERTa
    "japanese-reranker-tiny-v2",  # ModernBERT
    "mxbai-rerank-large",  # DeBERTa
    "gte-multilingual-reranker",
    "jina-reranker-v2-multilingual",
    "jina-reranker-turbo",  # ALiBi
    "qwen3-reranker-0.6b",
]
OWN_ATTENTION = {"all-mpnet-base-v2", "luke-japanese-base", "nv-embed-v2", "mxbai-rerank-large", "jina-reranker-turbo"}
"""Their attention reads more than who sees whom: they are computed with all of their padding."""
SPARSE_OR_TOKENS = ["bge-m3", "splade-pp-en-v2", "answerai-colbert-small-v1"]
MAX_OUTPUT_DIFFERENCE = 1e-3
"""With DTYPE=float32, of each weight of a sparse vector and each number of a token's vector, as documented."""


@pytest.mark.parametrize("name", EMBEDDERS + RERANKERS)
def test_numbers_are_torchs_at_every_length_padded_or_not(exported: Exported, name: str) -> None:
    model, report = exported(name)
    assert report["f32"] is None, report
    found, expected = load(model), load(model, TORCH)
    assert (found.name, expected.name) == ("openvino f32 on cpu", "torch float32 on cpu")
    assert (found.dtype, found.weights_dtype) == ("float32", "float32")
    assert (found.padding_cost < 1) == (name not in OWN_ATTENTION)
    for batch in batches(model.stored):
        assert_same(found.forward(batch), expected.forward(batch))
    exact = batch_of(model.stored, 17, 3)
    assert_same(found.forward_exact(exact), expected.forward_exact(exact))
    found.close()
    expected.close()


@pytest.mark.parametrize("name", SPARSE_OR_TOKENS)
def test_sparse_vectors_and_token_vectors_in_float32_are_torchs(exported: Exported, name: str) -> None:
    model, report = exported(name)
    assert report["f32"] is None, report
    facts = model.stored.facts
    wanted = Wanted.of(facts.outputs)
    batch = [replace(sequence, wanted=wanted) for sequence in batch_of(model.stored, 3, 60, 17)]
    found, expected = load(model), load(model, TORCH)
    assert found.name == "openvino f32 on cpu"
    for ours, theirs in zip(found.outputs(batch), expected.outputs(batch), strict=True):
        if theirs.tokens is not None:
            assert ours.tokens is not None
            assert np.abs(ours.tokens - theirs.tokens).max() <= MAX_OUTPUT_DIFFERENCE
        if theirs.sparse is not None:
            row, expected_row = (row_of(each.sparse, facts.vocabulary) for each in (ours, theirs))
            assert np.abs(row - expected_row).max() <= MAX_OUTPUT_DIFFERENCE
    found.close()
    expected.close()


def row_of(vector: SparseVector | None, size: int) -> Rows:
    """A sparse vector with its zeros."""
    assert vector is not None
    row = np.zeros(size, dtype=np.float32)
    row[vector.indices] = vector.values
    return row


@pytest.mark.parametrize("name", [name for name in EMBEDDERS + RERANKERS if name not in OWN_ATTENTION])
def test_nothing_of_the_size_of_attention_but_one_mask(exported: Exported, name: str) -> None:
    """(T, T) integers of distances took more than all else; booleans are compared without them."""
    model, _ = exported(name)
    found = find_export(model.stored.folder, "float32")
    assert found is not None
    graph, length = ov.Core().read_model(found[0] / BODY), 509
    shapes = [[1, length]] * 5 + [[length], [1, length], [1, 1], [1, length]]
    graph.reshape(dict(zip(range(len(graph.inputs)), shapes, strict=False)))
    square = [
        output
        for node in graph.get_ordered_ops()
        for output in node.outputs()
        if output.get_shape()[-2:] == [length] * 2
    ]
    assert {output.get_element_type() for output in square} <= {ov.Type.boolean}
    assert {np.prod(output.get_shape()) for output in square} <= {length**2}
