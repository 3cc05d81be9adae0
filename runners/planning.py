"""Which inputs go into one forward pass, and how large a pass pays."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np

from runners.backends import OutOfMemoryError
from runners.tokenization import Sequence

CALL_COST_TOKENS = 32
"""Fixed cost of one forward pass in tokens: between 16 and 64 the cuts are equally good (OPENVINO.md, section 4)."""

SMALLEST_BUDGET = 256
KNEE = 0.92
"""A larger pass that is not faster by more than this share only makes others wait longer."""
LONGEST_TRIAL_S = 0.5
TRIAL_TOKENS = 64
_TRIALS = 2


def plan(lengths: SequenceOf[int], budget: int) -> list[list[int]]:
    """Cut inputs into chunks that are cheapest to run: indices of each chunk, short inputs first.

    Sorted by length, the cuts minimise the sum over chunks of (longest x count + CALL_COST_TOKENS) with at most
    `budget` padded tokens in a chunk (one input alone may exceed it). Dynamic programme over the sorted lengths.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    sizes = [max(lengths[index], 1) for index in order]
    counts = np.arange(len(sizes) + 1)
    best = np.zeros(len(sizes) + 1, dtype=np.int64)
    starts = [0] * (len(sizes) + 1)
    for end, longest in enumerate(sizes, start=1):
        first = max(0, min(end - 1, end - budget // longest))
        costs = best[first:end] + longest * (end - counts[first:end])
        cheapest = int(costs.argmin())
        best[end], starts[end] = costs[cheapest] + CALL_COST_TOKENS, first + cheapest
    chunks: list[list[int]] = []
    end = len(sizes)
    while end:
        chunks.append(order[starts[end] : end])
        end = starts[end]
    return chunks[::-1]


def collate(sequences: SequenceOf[Sequence], pad_id: int) -> dict[str, Any]:
    """Sequences to padded arrays (B, T), the fields of Batch."""
    longest = max(len(sequence) for sequence in sequences)
    input_ids = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    attention_mask = np.zeros((len(sequences), longest), dtype=np.int64)
    pooling_mask = np.zeros_like(attention_mask)
    segments = None if sequences[0].token_type_ids is None else np.zeros_like(input_ids)
    for row, sequence in enumerate(sequences):
        input_ids[row, : len(sequence)] = sequence.input_ids
        attention_mask[row, : len(sequence)] = 1
        pooling_mask[row, sequence.unpooled : len(sequence)] = 1
        if segments is not None and sequence.token_type_ids is not None:
            segments[row, : len(sequence)] = sequence.token_type_ids
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "pooling_mask": pooling_mask,
        "token_type_ids": segments,
    }


def learn_budget(run: Callable[[list[Sequence]], object], text: Sequence, most: int) -> int:
    """Padded tokens of a pass at which throughput stops growing on this device, at most `most`.

    Measured on passes of doubling size, all of one text; ends early where a pass takes long or all memory already.
    """
    budget = min(SMALLEST_BUDGET, most)
    speed = _speed(run, text, budget)
    while budget * 2 <= most and budget / speed < LONGEST_TRIAL_S:
        try:
            larger = _speed(run, text, budget * 2)
        except OutOfMemoryError:
            break
        if speed >= KNEE * larger:
            break
        budget, speed = budget * 2, larger
    return budget


def _speed(run: Callable[[list[Sequence]], object], text: Sequence, budget: int) -> float:
    """Tokens a second of one pass: the better of two, as the first may compile and allocate."""
    sequences = [text] * max(1, budget // len(text))
    best = float("inf")
    for _ in range(_TRIALS):
        started = time.perf_counter()
        run(sequences)
        best = min(best, time.perf_counter() - started)
    return len(text) * len(sequences) / max(best, 1e-6)
