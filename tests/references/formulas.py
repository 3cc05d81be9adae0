"""Formulas that the architectures share, in float64, for one sequence of T tokens."""

import math

import numpy as np

from .reading import Array, Tensors


def linear(x: Array, tensors: Tensors, name: str) -> Array:
    """x W^T + b, without b if the checkpoint has none: (..., I) -> (..., O)."""
    y = x @ tensors[f"{name}.weight"].T
    bias = tensors.get(f"{name}.bias")
    return y if bias is None else y + bias


def layer_norm(x: Array, tensors: Tensors, name: str, eps: float) -> Array:
    """Ba et al. 2016: subtract the mean, divide by the biased standard deviation with eps inside the root."""
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return np.asarray(normed * tensors[f"{name}.weight"] + tensors[f"{name}.bias"])


def rms_norm(x: Array, tensors: Tensors, name: str, eps: float) -> Array:
    """Zhang & Sennrich 2019: without mean and bias."""
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * tensors[f"{name}.weight"])


def gelu(x: Array) -> Array:
    """The exact GELU with erf (Hendrycks & Gimpel 2016), not the tanh approximation."""
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return np.asarray(0.5 * x * (1.0 + erf(x / math.sqrt(2.0))))


def silu(x: Array) -> Array:
    """x times the logistic function of x."""
    return x / (1.0 + np.exp(-x))


def softmax(x: Array) -> Array:
    """Over the last axis."""
    raised = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def split_heads(x: Array, heads: int) -> Array:
    """(T, heads * D) -> (heads, T, D): head h owns the h-th block of D columns."""
    return x.reshape(x.shape[0], heads, -1).transpose(1, 0, 2)


def attention(query: Array, key: Array, value: Array, bias: Array | float = 0.0) -> Array:
    """softmax(q k^T / sqrt(D) + bias) v (Vaswani et al. 2017): (heads, T, D) each -> (T, heads * D)."""
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1]) + bias
    mixed = softmax(scores) @ value
    return mixed.transpose(1, 0, 2).reshape(query.shape[1], -1)


def rotate(x: Array, inverse_frequencies: Array) -> Array:
    """Rotary positions in the GPT-NeoX layout: pair i is (x[i], x[i + D/2]), positions count from 0.

    Su et al. 2021; `rotate_half` of the Llama, Mistral and Alibaba-NLP/new-impl code. (heads, T, D) -> same.
    """
    angles = np.arange(x.shape[1], dtype=np.float64)[:, None] * inverse_frequencies
    first, second = np.split(x, 2, axis=-1)
    cosines, sines = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)


def inverse_frequencies(theta: float, dim: int) -> Array:
    """theta^(-2i/dim) for i in 0 .. dim/2 - 1."""
    return np.asarray(1.0 / theta ** (np.arange(0, dim, 2, dtype=np.float64) / dim))


def unit(x: Array) -> Array:
    """x over its Euclidean length."""
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))
