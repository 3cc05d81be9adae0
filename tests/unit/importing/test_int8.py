"""DTYPE=int8: which weights are compressed, and how its accuracy is judged."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset13 as ops
from scipy.stats import kendalltau
from torch import nn

from importing import int8
from importing.int8 import QUERIES, compress, cost, kendall_tau


class Attention(nn.Module):
    """Two layers and a product of two activations, which has no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.words(ids)
        products: torch.Tensor = self.query(hidden) @ self.key(hidden).transpose(1, 2)
        return products


def integers(model: ov.Model) -> list[tuple[int, ...]]:
    """Shapes of the constants in 8 bits."""
    return [
        tuple(node.get_output_shape(0))
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == ov.Type.i8
    ]


def test_linear_layers_are_compressed_and_embeddings_are_not() -> None:
    module, ids = Attention().eval(), torch.arange(6)[None]
    model = ov.convert_model(module, example_input=(ids,))
    assert compress(model) == 2
    assert integers(model) == [(8, 8), (8, 8)]
    with torch.inference_mode():
        expected = module(ids).numpy()
    options = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    found = ov.compile_model(model, "CPU", options)([ids.numpy()])[0]
    np.testing.assert_allclose(found, expected, atol=0.03 * float(np.abs(expected).max()))


@pytest.mark.parametrize("scale", [1.0, 1e-6, 0.0])
@pytest.mark.parametrize("transposed", [True, False])
def test_a_weight_is_off_by_half_a_step_at_most(scale: float, transposed: bool) -> None:
    weights = (scale * np.random.default_rng(0).normal(size=(16, 8))).astype(np.float32)
    inputs = ops.parameter([16, 8 if transposed else 16], ov.Type.f32)
    model = ov.Model([ops.matmul(inputs, ops.constant(weights), False, transposed)], [inputs])
    assert compress(model) == 1
    identity = np.eye(*inputs.get_output_shape(0), dtype=np.float32)
    options = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    rows = ov.compile_model(model, "CPU", options)([identity])[0]
    found = rows[:8].T if transposed else rows
    step = np.abs(weights).max(axis=1 if transposed else 0, keepdims=True) / 127
    assert (np.abs(found - weights) <= 0.51 * step + 6e-8).all()


def rankings(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 1) of every query's passages, and the same with noise."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(len(QUERIES) * len(int8.PASSAGES), 1)).astype(np.float32)
    return logits, logits + noise * random.normal(size=logits.shape).astype(np.float32)


def test_kendalls_tau_is_scipys() -> None:
    one, other = (rows[:, 0] for rows in rankings(0.5))
    assert kendall_tau(one, other) == pytest.approx(kendalltau(one, other).statistic)
    assert kendall_tau(one, -one) == -1


def test_rankings_are_judged_by_their_order_alone() -> None:
    logits, noisy = rankings(0.01)
    assert cost(logits, logits * 3 + 1).refusal is None
    assert str(cost(logits, logits)) == "Kendall's tau 1.0000, top-10 overlap 1.0000"
    assert cost(logits, noisy).refusal is None
    refusal = cost(*rankings(1.0)).refusal
    assert refusal is not None
    assert "Kendall's tau 0.45" in refusal
    assert refusal.endswith("(at least: Kendall's tau 0.9, top-10 overlap 0.9)")


def test_vectors_are_judged_by_the_worst_cosine() -> None:
    vectors = np.random.default_rng(2).normal(size=(40, 16)).astype(np.float32)
    assert str(cost(vectors, 2 * vectors)) == "lowest cosine 1.0000, mean cosine 1.0000"
    one_wrong = vectors.copy()
    one_wrong[7] *= -1
    refusal = cost(vectors, one_wrong).refusal
    assert refusal == (
        "int8 changes its results too much: lowest cosine -1.0000, mean cosine 0.9500 (at least: lowest cosine 0.99)"
    )
    assert cost(vectors, np.full_like(vectors, np.nan)).refusal is not None
    assert cost(vectors[:, :1], np.full_like(vectors[:, :1], np.nan)).refusal is not None
