"""Pooling against loops that anybody can check, for NumPy arrays and torch tensors alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runners.networks.pooling import POOLINGS, last_pool, mean_pool, normalize, sigmoid
from tests.tolerance import sum_atol

Array = np.ndarray[Any, Any]


@st.composite
def batches(draw: st.DrawFn) -> tuple[Array, Array]:
    """Token embeddings (B, T, H) and a mask (B, T), padded on the right, at least one token a row."""
    rows, tokens, width = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    lengths = draw(st.lists(st.integers(1, tokens), min_size=rows, max_size=rows))
    seed = draw(st.integers(0, 2**16))
    embeddings = np.random.default_rng(seed).normal(size=(rows, tokens, width)).astype(np.float32)
    mask = (np.arange(tokens) < np.array(lengths)[:, None]).astype(np.float32)
    return embeddings, mask


def in_loops(name: str, embeddings: Array, mask: Array) -> Array:
    """The same, one number at a time."""
    rows, tokens, width = embeddings.shape
    result = np.zeros((rows, width))
    for row in range(rows):
        real = [token for token in range(tokens) if mask[row, token]]
        kept = {"cls": [0], "mean": real, "last": real[-1:]}[name]
        for column in range(width):
            result[row, column] = math.fsum(embeddings[row, token, column] for token in kept) / len(kept)
    return result


def rounding(batch: tuple[Array, Array]) -> float:
    """What a mean of these tokens may lose in float32, whatever the order in which they are added."""
    embeddings, mask = batch
    return sum_atol(mask.shape[1], magnitude=float(np.abs(embeddings).max()))


@pytest.mark.parametrize("name", POOLINGS)
@given(batch=batches())
def test_arrays_and_tensors_pool_as_the_loops_do(name: str, batch: tuple[Array, Array]) -> None:
    expected, tensors = in_loops(name, *batch), map(torch.from_numpy, batch)
    np.testing.assert_allclose(POOLINGS[name](*batch), expected, atol=rounding(batch))
    np.testing.assert_allclose(POOLINGS[name](*tensors).numpy(), expected, atol=rounding(batch))


@pytest.mark.parametrize("name", POOLINGS)
@given(batch=batches(), padding=st.integers(1, 5))
def test_padding_does_not_matter(name: str, batch: tuple[Array, Array], padding: int) -> None:
    embeddings, mask = batch
    rows, _, width = embeddings.shape
    wide = np.concatenate([embeddings, np.full((rows, padding, width), 1e3, np.float32)], axis=1)
    wide_mask = np.concatenate([mask, np.zeros((rows, padding), np.float32)], axis=1)
    np.testing.assert_allclose(POOLINGS[name](wide, wide_mask), POOLINGS[name](embeddings, mask), atol=rounding(batch))


@pytest.mark.parametrize("pool", [mean_pool, last_pool])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_an_all_zero_mask_gives_zeros(pool: Any, convert: Any) -> None:
    pooled = pool(convert(np.ones((1, 3, 2), np.float32)), convert(np.zeros((1, 3), np.float32)))
    assert np.asarray(pooled).tolist() == [[0.0, 0.0]]


@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1e-10, 1e-3, 1.0, 1e4, 1e10]))
def test_normalize_keeps_the_direction_and_makes_length_one(seed: int, scale: float) -> None:
    vectors = (np.random.default_rng(seed).normal(size=(3, 5)) * scale).astype(np.float32)
    unit = normalize(vectors)
    assert unit.dtype == np.float32
    for row, original in zip(unit.tolist(), vectors.tolist(), strict=True):
        assert math.hypot(*row) == pytest.approx(1, abs=sum_atol(len(row)))
        length = math.hypot(*original)
        assert row == pytest.approx([value / length for value in original], abs=sum_atol(len(row)))


def test_a_row_of_zeros_stays_zero() -> None:
    assert normalize(np.array([[0, 0], [0, 2]], np.float32)).tolist() == [[0, 0], [0, 1]]


def test_sigmoid_is_the_logistic_function() -> None:
    logits = np.array([-20, -3.5, -1, 0, 0.5, 2, 20], np.float32)
    # scipy.special.expit
    expected = [
        2.0611536181902037e-09,
        0.029312230751356319,
        0.2689414213699951,
        0.5,
        0.6224593312018546,
        0.8807970779778825,
        0.9999999979388463,
    ]
    np.testing.assert_allclose(sigmoid(logits), expected, rtol=1e-14)


def test_sigmoid_of_extreme_values_warns_of_nothing_and_scores_do_not_tie() -> None:
    logits = np.array([-np.inf, -3e38, -700, -100, -99, -40, -39, -21, 20, 21, 30, 31, 3e38, np.inf], np.float32)
    with np.errstate(all="raise", under="ignore"):
        scores = sigmoid(logits)
    assert scores.dtype == np.float64
    assert scores[[0, 1, -2, -1]].tolist() == [0, 0, 1, 1]
    assert (np.diff(scores[2:-2]) > 0).all()
