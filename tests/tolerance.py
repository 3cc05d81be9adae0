"""Tolerances for two computations of the same numbers, derived from their precision.

Processors sum the same products in different orders, because vector widths, fused operations and numbers of threads
differ. Some compute in bfloat16. So tolerances must not be measured on one processor.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from tests.variant import DTYPE

Precision = Literal["f32", "bf16"]
"""Precision of OpenVINO's computation."""

TERMS = 512
"""Terms of the longest sums in the models under test: tokens in attention, or the width of a layer."""


def sum_atol(terms: int, magnitude: float = 1.0, *, dtype: type[np.floating[Any]] = np.float32) -> float:
    """Absolute tolerance for sums of the same numbers in different orders; `magnitude`: sum of their magnitudes.

    The error of each is at most terms x unit roundoff x magnitude: Higham, Accuracy and Stability of Numerical
    Algorithms, section 4.2.
    """
    return terms * float(np.finfo(dtype).eps) * magnitude


FLOAT32 = sum_atol(TERMS)
"""6e-5: for float32 numbers up to 1 by torch, such as unit vectors, cosines and scores.

Rounding errors of layers partly cancel. The largest measured error is 4e-6 of the largest number (AMD EPYC with
AVX-512); bfloat16 and wrong formulas have errors of 1e-3 and more.
"""
FLOAT64 = sum_atol(TERMS, dtype=np.float64)
"""The same for references in float64."""


def scaled(expected: Any, atol: float = FLOAT32) -> float:
    """The tolerance for numbers that may exceed 1, such as logits: relative to the largest one."""
    return atol * max(1.0, float(np.abs(np.asarray(expected)).max()))


def min_cosine(precision: Precision) -> float:
    """The smallest cosine to torch in float32 that the accuracy gate accepts."""
    from runners.backends.accuracy import MIN_COSINE

    return MIN_COSINE[precision]


def unit_atol(precision: Precision) -> float:
    """The tolerance of that cosine for a component: the distance of two unit vectors with cosine c is sqrt(2 - 2c).

    It also holds for scores (1 + cosine) / 2, whose error is half of both vectors' errors.
    """
    return math.sqrt(2 - 2 * min_cosine(precision))


def shared_pass_atol(precision: Precision) -> float:
    """The tolerance for components of a vector from the same OpenVINO model in passes of different shapes."""
    return FLOAT32 if precision == "f32" else 2 * unit_atol(precision)


def openvino_precision() -> Precision:
    """OpenVINO's precision with this run's DTYPE on this processor."""
    from runners.backends.openvino import precisions

    return "bf16" if DTYPE != "float32" and "bf16" in precisions() else "f32"
