"""How far apart two computations of the same numbers may be, derived from the precision that they run in.

Processors add the same products in different orders: the width of their vectors differs, what they fuse, and how many
threads share the work. Some compute in bfloat16. A tolerance that is read off one processor fails on another.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from tests.variant import DTYPE

Precision = Literal["f32", "bf16"]
"""What OpenVINO computes in."""

TERMS = 512
"""Terms of the longest sums in the models under test: the tokens that attention reads, the width of a layer."""


def sum_atol(terms: int, magnitude: float = 1.0, *, dtype: type[np.floating[Any]] = np.float32) -> float:
    """Absolute tolerance for two sums of the same numbers, whose magnitudes add up to `magnitude`, in any two orders.

    Each may be off by terms x unit roundoff x magnitude: Higham, Accuracy and Stability of Numerical Algorithms,
    section 4.2.
    """
    return terms * float(np.finfo(dtype).eps) * magnitude


FLOAT32 = sum_atol(TERMS)
"""6e-5: for what torch computes in float32 and is at most 1, such as unit vectors, cosines and scores.

A network rounds in every layer, but not always in the same direction. The largest error seen is 4e-6 of the largest
number (AMD EPYC with AVX-512); bfloat16 and wrong formulas change 1e-3 and more.
"""
FLOAT64 = sum_atol(TERMS, dtype=np.float64)
"""The same for references in float64."""


def scaled(expected: Any, atol: float = FLOAT32) -> float:
    """The tolerance for numbers that may exceed 1, such as logits: relative to the largest of them."""
    return atol * max(1.0, float(np.abs(np.asarray(expected)).max()))


def min_cosine(precision: Precision) -> float:
    """The smallest cosine to torch in float32 that the accuracy gate lets pass."""
    from runners.backends.accuracy import MIN_COSINE

    return MIN_COSINE[precision]


def unit_atol(precision: Precision) -> float:
    """What that cosine allows for a component of a unit vector: two unit vectors of cosine c are sqrt(2 - 2c) apart.

    It holds for scores (1 + cosine) / 2, too: half of what both vectors move.
    """
    return math.sqrt(2 - 2 * min_cosine(precision))


def shared_pass_atol(precision: Precision) -> float:
    """For components of the same vector from the same OpenVINO model, computed in passes of different shapes."""
    return FLOAT32 if precision == "f32" else 2 * unit_atol(precision)


def openvino_precision() -> Precision:
    """What OpenVINO serves in under this run's DTYPE on this processor."""
    from runners.backends.openvino import precisions

    return "bf16" if DTYPE != "float32" and "bf16" in precisions() else "f32"
