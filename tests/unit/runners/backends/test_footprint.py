"""What a pass takes, from the shapes of a graph or the widths of a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset14 as ops

from runners.backends.batches import LONGEST_SHARED
from runners.backends.footprint import _ALWAYS, FRAGMENTATION, GraphFootprint, LayerWidths
from runners.batching.costs import SMALLEST_BUDGET
from runners.contracts import BatchShape
from runners.loading import _full_pass, _largest_pass
from runners.pool.capacity import KEPT_BYTES, WORKING_SHARE, with_passes
from tests.unit.fakes import FakeBackend, write_files

HEADS = 3


def padded_graph() -> ov.Model:
    """Inputs (B, T), as of a padded batch: ids to floats, floats to (B, HEADS, T, T), and their sum to (B,)."""
    inputs = [ops.parameter([-1, -1], np.int64) for _ in range(3)]
    floats = ops.convert(inputs[0], "f32")
    columns, rows = ops.unsqueeze(floats, [1, 2]), ops.unsqueeze(floats, [1, 3])
    heads = ops.constant(np.ones((HEADS, 1, 1), dtype=np.float32))
    square = ops.multiply(ops.multiply(columns, heads), rows)
    total = ops.reduce_sum(square, [1, 2, 3])
    return ov.Model([total], inputs, "test")


@pytest.mark.parametrize("float_bytes", [2, 4])
@pytest.mark.parametrize(("count", "longest"), [(1, 4096), (4, 64), (7, 333)])
def test_the_largest_moment_counts(count: int, longest: int, float_bytes: int) -> None:
    """The square is alive with what it was made of."""
    found = GraphFootprint(padded_graph(), float_bytes).bytes(BatchShape(count, longest, count * longest))
    square = float_bytes * count * HEADS * longest**2
    beside = (HEADS + 4) * 8 * count * longest
    assert square <= (found - _ALWAYS) / FRAGMENTATION <= square + beside


def unpadded_graph() -> ov.Model:
    """Inputs of UnpaddedBatch; the N tokens of 16 floats each are the largest."""
    rectangle, packed = [-1, -1], [1, -1]
    shapes = [packed, packed, rectangle, rectangle, rectangle, [-1]]
    inputs = [ops.parameter(shape, np.int64) for shape in shapes]
    floats = ops.unsqueeze(ops.convert(inputs[0], "f32"), [2])
    wide = ops.multiply(floats, ops.constant(np.ones((1, 1, 16), dtype=np.float32)))
    results = [ops.reduce_sum(ops.relu(wide), [0, 1, 2])]
    return ov.Model([*results, *(ops.result(each) for each in inputs[1:])], inputs, "test")


def test_without_padding_the_tokens_count() -> None:
    footprint = GraphFootprint(unpadded_graph(), 4)
    few, many = (footprint.bytes(BatchShape(8, 512, tokens)) - _ALWAYS for tokens in (1000, 4000))
    assert many == pytest.approx(4 * few, rel=0.2)
    assert few >= FRAGMENTATION * 2 * 4 * 16 * 1000


def shared_graph() -> ov.Model:
    """Inputs of UnpaddedBatch and a mask."""
    packed, rectangle = [1, -1], [-1, -1]
    shapes = [packed, packed, rectangle, rectangle, rectangle, [-1], rectangle, rectangle]
    inputs = [ops.parameter(shape, np.int64) for shape in shapes]
    mask = ops.equal(ops.unsqueeze(inputs[7], [1, 3]), ops.unsqueeze(inputs[2], [1, 2]))
    return ov.Model([ops.result(mask), *(ops.result(each) for each in inputs)], inputs, "test")


@pytest.mark.parametrize(
    ("size", "mask"),
    [
        (BatchShape(1, 512, 512), 512),  # one text is alone in its row
        (BatchShape(8, 512, 3000), 8 * 512**2),
        (BatchShape(8, 512, 700), 3 * 512**2),  # two rows of 512 tokens in total would have been one
        (BatchShape(8, LONGEST_SHARED + 1, 3000), 8 * (LONGEST_SHARED + 1)),
    ],
)
def test_masks_are_large_only_where_texts_share_rows(size: BatchShape, mask: int) -> None:
    inputs = 4 * (5 * size.count * size.longest + 4 * size.tokens)
    found = (GraphFootprint(shared_graph(), 4).bytes(size) - _ALWAYS) / FRAGMENTATION
    assert mask <= found <= mask + inputs


def test_widths_are_read_and_what_is_missing_is_as_usual(tmp_path: Path) -> None:
    qwen = {"hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16, "head_dim": 128}
    folder = write_files(tmp_path / "qwen", config_json=json.dumps(qwen))
    assert LayerWidths.read(folder) == LayerWidths(1024, 3072, 16, 128)
    folder = write_files(tmp_path / "bert", config_json=json.dumps({"hidden_size": 384, "num_attention_heads": 12}))
    assert LayerWidths.read(folder) == LayerWidths(384, 1536, 12, 32)


def test_torch_takes_memory_for_tokens_and_padded_also_for_masks() -> None:
    """Measured for 8,192 tokens: Qwen3 0.55 GB, XLM-RoBERTa 0.5 GB, ModernBERT 0.4 GB and padded 1.05 GB."""
    text = BatchShape.of([8192])
    qwen, xlm = LayerWidths(1024, 3072, 16, 128), LayerWidths(1024, 4096, 16, 64)
    modern = LayerWidths(768, 1152, 12, 64)
    assert 0.55e9 < qwen.torch_bytes(text, packed=True) < 1e9
    assert 0.5e9 < xlm.torch_bytes(text, packed=True) < 1e9
    assert 0.4e9 < modern.torch_bytes(text, packed=True) < 0.8e9
    assert 1.05e9 < modern.torch_bytes(text, packed=False) < 2.5e9
    double = BatchShape.of([16_384])
    assert qwen.torch_bytes(double, packed=True) == pytest.approx(2 * qwen.torch_bytes(text, packed=True), rel=0.05)


class Growing(FakeBackend):
    """A megabyte for each token of a pass."""

    def pass_bytes(self, size: BatchShape) -> int:
        return size.tokens * 10**6


@pytest.mark.parametrize(("room_mb", "expected"), [(10**6, 16_384), (5000, 4096), (1, SMALLEST_BUDGET)])
def test_a_pass_is_no_larger_than_the_memory(room_mb: int, expected: int) -> None:
    assert _largest_pass(Growing(), 16_384, room_mb * 10**6) == expected


def test_a_full_pass_is_one_of_ordinary_texts() -> None:
    assert _full_pass(1000) == BatchShape(15, 64, 960)
    assert _full_pass(16) == BatchShape(1, 64, 64)


@pytest.mark.parametrize(("full_pass", "working"), [(0, 200), (150, 200), (500, 500), (KEPT_BYTES + 1, KEPT_BYTES)])
def test_what_passes_keep_is_counted_with_the_model(full_pass: int, working: int) -> None:
    needed = int(1000 * WORKING_SHARE)
    assert with_passes(needed, full_pass) == (1000 + working, working)
