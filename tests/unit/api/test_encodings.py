"""Vectors as numbers and bytes: sentence-transformers' quantisation, and bytes that any machine reads alike."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
import orjson
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sentence_transformers.util.quantization import quantize_embeddings

from api.encodings import OutputType, encode, encode_rows, quantize
from runners.networks.pooling import normalize

Floats = NDArray[np.float32]
Precision = Literal["int8", "uint8", "binary", "ubinary"]
PRECISIONS: tuple[Precision, ...] = ("int8", "uint8", "binary", "ubinary")
LITTLE_ENDIAN: dict[OutputType, str] = {
    "float": "<f4",
    "int8": "<i1",
    "uint8": "<u1",
    "binary": "<i1",
    "ubinary": "<u1",
}


def unit_vectors(count: int, width: int, seed: int = 0) -> Floats:
    """Random directions."""
    return normalize(np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32))


def theirs(vectors: Floats, precision: Precision) -> NDArray[Any]:
    """sentence-transformers, each vector with the range from minus to plus its largest absolute value."""
    rows = []
    for vector in vectors:
        largest = np.abs(vector).max()
        ranges = np.stack([np.full(len(vector), -largest), np.full(len(vector), largest)])
        rows.append(quantize_embeddings(vector[None], precision=precision, ranges=ranges)[0])
    return np.stack(rows)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 383, 384, 1024])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_numbers_are_those_of_sentence_transformers(precision: Precision, width: int) -> None:
    vectors = unit_vectors(50, width)
    ours, expected = quantize(vectors, precision), theirs(vectors, precision)
    assert ours.dtype == expected.dtype
    assert_array_equal(ours, expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_zero_vector_is_no_error_and_changes_no_neighbour(precision: Precision) -> None:
    vectors = np.concatenate([np.zeros((1, 20), dtype=np.float32), unit_vectors(1, 20)])
    ours = quantize(vectors, precision)
    assert_array_equal(ours, theirs(vectors, precision))
    assert len(set(ours[0].tolist())) == 1


def test_bits_are_packed_from_the_highest_and_filled_with_zeros() -> None:
    vectors = np.array([[0.1, -0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]], dtype=np.float32)
    assert quantize(vectors, "ubinary").tolist() == [[0b1001_1111, 0b1000_0000]]
    assert quantize(vectors, "binary").tolist() == [[0b1001_1111 - 128, 0]]


@pytest.mark.parametrize("output_type", LITTLE_ENDIAN)
def test_base64_is_the_little_endian_bytes_of_every_type(output_type: OutputType) -> None:
    numbers = quantize(unit_vectors(4, 17), output_type)
    for row in numbers:
        decoded = np.frombuffer(base64.b64decode(orjson.loads(encode(row, "base64"))), dtype=LITTLE_ENDIAN[output_type])
        assert_array_equal(decoded, row)


def test_base64_does_not_depend_on_the_machines_byte_order() -> None:
    numbers = np.array([1.5, -2.0], dtype=">f4")
    assert base64.b64decode(orjson.loads(encode(numbers, "base64"))) == bytes.fromhex("0000c03f000000c0")


@pytest.mark.parametrize("output_type", LITTLE_ENDIAN)
def test_a_list_has_the_same_numbers(output_type: OutputType) -> None:
    numbers = quantize(unit_vectors(4, 17), output_type)
    rows = orjson.loads(orjson.dumps(encode_rows(numbers)))
    assert_array_equal(np.array(rows, dtype=numbers.dtype), numbers)
    assert [orjson.loads(encode(row, "float")) for row in numbers] == rows
    in_base64 = orjson.loads(orjson.dumps(encode_rows(numbers, "base64")))
    assert in_base64 == [orjson.loads(encode(row, "base64")) for row in numbers]


def test_columns_that_were_cut_off_stay_off() -> None:
    """A view of fewer columns is not contiguous in memory."""
    vectors = unit_vectors(3, 16)[:, :5]
    assert_array_equal(np.array(orjson.loads(orjson.dumps(encode_rows(vectors))), dtype=np.float32), vectors)
    first = base64.b64decode(orjson.loads(encode(vectors[0], "base64")))
    assert_array_equal(np.frombuffer(first, dtype="<f4"), vectors[0])
