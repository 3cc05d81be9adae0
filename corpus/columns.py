"""The outputs of rows as NumPy arrays whose first axis can be concatenated: the form of answers and parts.

`dense` is (N, D). Sparse vectors and token vectors have different lengths: `sparse_lengths` and `token_lengths` (N,).
They lie end to end in `sparse_indices`, `sparse_values` and `token_vectors` (T, D).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Output = Literal["dense", "sparse", "multi_vector"]
OUTPUTS: tuple[Output, ...] = ("dense", "sparse", "multi_vector")
Arrays = Mapping[str, NDArray[Any]]

_PER_ROW = ("dense", "sparse_lengths", "token_lengths")
_END_TO_END = (
    ("sparse_lengths", "sparse_indices"),
    ("sparse_lengths", "sparse_values"),
    ("token_lengths", "token_vectors"),
)


def request_fields(outputs: Sequence[Output]) -> dict[str, bool]:
    """The fields of a request for these outputs."""
    if tuple(outputs) == ("dense",):
        return {}
    return {
        "return_dense": "dense" in outputs,
        "return_sparse": "sparse" in outputs,
        "return_colbert_vecs": "multi_vector" in outputs,
    }


def read_items(items: Sequence[Mapping[str, Any]], outputs: Sequence[Output]) -> Arrays:
    """The arrays of a response's `data`, in base64. ValueError, KeyError or TypeError if it is not as requested."""
    arrays: dict[str, NDArray[Any]] = {}
    if "dense" in outputs:
        arrays["dense"] = np.stack([_floats(item["embedding"]) for item in items])
    if "sparse" in outputs:
        sparse = [item["sparse_embedding"] for item in items]
        arrays["sparse_lengths"] = np.array([len(each["indices"]) for each in sparse], np.int64)
        arrays["sparse_indices"] = np.concatenate([np.array(each["indices"], np.int32) for each in sparse])
        arrays["sparse_values"] = np.concatenate([np.array(each["values"], np.float32) for each in sparse])
    if "multi_vector" in outputs:
        tokens = [item["colbert_vecs"] for item in items]
        arrays["token_lengths"] = np.array([len(each) for each in tokens], np.int64)
        arrays["token_vectors"] = np.stack([_floats(vector) for each in tokens for vector in each])
    return arrays


def _floats(encoded: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(encoded), dtype="<f4").astype(np.float32, copy=False)


def concatenate(parts: Sequence[Arrays]) -> Arrays:
    """The rows of all parts, in order."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def size(arrays: Arrays) -> int:
    """Bytes."""
    return sum(array.nbytes for array in arrays.values())


def count(arrays: Arrays) -> int:
    """Number of rows."""
    return len(next(arrays[name] for name in _PER_ROW if name in arrays))


def widths(arrays: Arrays) -> dict[str, int]:
    """Name of each output with vectors of a fixed width -> the width."""
    names = {"dense": "dense", "multi_vector": "token_vectors"}
    return {output: arrays[name].shape[1] for output, name in names.items() if name in arrays}


def are_valid(arrays: Arrays) -> bool:
    """Whether the arrays belong together and all numbers are finite."""
    rows = count(arrays)
    return (
        all(np.isfinite(array).all() for array in arrays.values())
        and all(len(arrays[name]) == rows for name in _PER_ROW if name in arrays)
        and all(arrays[name].sum() == len(arrays[values]) for name, values in _END_TO_END if name in arrays)
    )
