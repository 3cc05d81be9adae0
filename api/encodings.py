"""Data types of vectors, and vectors as JSON."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from runners.contracts import Vectors

Encoding = Literal["float", "base64"]
OutputType = Literal["float", "int8", "uint8", "binary", "ubinary"]
EmbeddingType = Literal[OutputType, "base64"]
Numbers = NDArray[Any]


def quantize(vectors: Vectors, output_type: OutputType) -> Numbers:
    """(N, D) float32 -> (N, D) int8 or uint8, (N, ceil(D / 8)) for the binary types, or the vectors themselves.

    The formulas of sentence-transformers' `quantize_embeddings`. It takes the range of each dimension from a
    calibration set; here each vector has its own range, -a to a with a its largest absolute value. So no other texts
    are needed, and cosines between vectors stay the same. Binary: bit 1 where a number is positive, packed with the
    first dimension in the highest bit; `binary` is `ubinary` minus 128.
    """
    if output_type == "float":
        return vectors
    if output_type in ("binary", "ubinary"):
        packed = np.packbits(vectors > 0, axis=1)
        return packed if output_type == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    steps = 2 * largest / 255
    levels = np.floor((vectors + largest) / np.where(steps == 0, 1, steps)).clip(0, 255)
    numbers: Numbers = levels.astype(np.uint8) if output_type == "uint8" else (levels - 128).astype(np.int8)
    return numbers


def encode(numbers: Numbers, encoding: Encoding) -> bytes:
    """One vector (D,) as JSON: a list of numbers, or a string of their little-endian bytes in base64."""
    if encoding == "base64":
        return b'"%b"' % base64.b64encode(numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).tobytes())
    return orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)


def encode_rows(numbers: Numbers, encoding: Encoding = "float") -> list[orjson.Fragment]:
    """Each vector of (N, D) as JSON. Vectors are serialized one by one, so that a long list shares the GIL."""
    return [orjson.Fragment(encode(row, encoding)) for row in numbers]
