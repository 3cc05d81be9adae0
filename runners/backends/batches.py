"""Token sequences as arrays for one forward pass: padded, partly unpadded, or packed end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runners.contracts import BatchShape, TokenSequence

Ids = NDArray[np.int64]

UNATTENDED = -1
"""The key group of a token that no token attends to, and that has vectors of its own."""
LONGEST_SHARED = 1024
"""Longest text of a batch whose rows texts share: masks of shared rows have T x T booleans each."""


@dataclass(frozen=True)
class PaddedBatch:
    """Inputs of one forward pass, each (B, T), padded on the right."""

    input_ids: Ids
    attention_mask: Ids
    pooling_mask: Ids
    """The attention mask without the tokens that pooling ignores."""
    token_type_ids: Ids | None
    text_mask: Ids
    """The attention mask with the tokens that no token attends to: all tokens but padding."""

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], pad_id: int) -> PaddedBatch:
        """B sequences, the longest of T tokens."""
        longest = max(map(len, sequences))
        input_ids = np.full((len(sequences), longest), pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(sequences), longest), dtype=np.int64)
        pooling_mask, text_mask = np.zeros_like(attention_mask), np.zeros_like(attention_mask)
        segments = None if sequences[0].token_type_ids is None else np.zeros_like(input_ids)
        for row, sequence in enumerate(sequences):
            input_ids[row, : len(sequence)] = sequence.input_ids
            text_mask[row, : len(sequence)] = 1
            attention_mask[row, : len(sequence) - sequence.unattended] = 1
            pooling_mask[row, sequence.unpooled : len(sequence)] = 1
            if segments is not None and sequence.token_type_ids is not None:
                segments[row, : len(sequence)] = sequence.token_type_ids
        return cls(input_ids, attention_mask, pooling_mask, segments, text_mask)

    def arrays(self) -> list[Ids]:
        """The arrays in the order of the network's parameters."""
        inputs = [self.input_ids, self.attention_mask, self.pooling_mask]
        return inputs if self.token_type_ids is None else [*inputs, self.token_type_ids]


@dataclass(frozen=True)
class UnpaddedBatch:
    """A batch for a network that pads only for attention, to (R, T), and pooling, to (B, T).

    All other layers, most of the work, compute the N real tokens end to end. Short texts share a row of the attention,
    so R <= B. A token attends to the tokens in its row whose key group is its query group.
    """

    input_ids: Ids
    """(1, N)"""
    position_ids: Ids
    """(1, N): the position of each token in its sequence, from 0."""
    key_groups: Ids
    """(R, T): 0 for padding, UNATTENDED, or a number that differs between the texts of a row."""
    pooling_mask: Ids
    """(B, T)"""
    places: Ids
    """(B, T): the index of each padded token among the N; arbitrary for padding."""
    indices: Ids
    """(N,): the index of each of the N in the flattened (R, T)."""
    cells: Ids
    """(R, T): the index of each token of the rows among the N; arbitrary for padding."""
    query_groups: Ids
    """(R, T), or (R, 1) if each row has one text, which keeps masks small."""
    token_type_ids: Ids | None
    """(1, N)"""

    @classmethod
    def of(cls, batch: PaddedBatch, step: int = 1, *, share: bool = True) -> UnpaddedBatch:
        """Remove the padding of `batch`; texts may share rows if `share`.

        N is rounded up to a multiple of `step` with unused repetitions.
        """
        (count, longest), flat = batch.text_mask.shape, batch.text_mask.ravel()
        starts, rows = np.arange(count) * longest, count
        if share and may_share(count, longest):
            starts, rows = _share_rows(batch.text_mask.sum(axis=1), longest)
        real = np.flatnonzero(flat)
        repeated = np.pad(real, (0, -len(real) % step))
        texts, positions = np.divmod(repeated, longest)
        indices = starts[texts] + positions
        used, tokens = indices[: len(real)], np.arange(len(real))
        cells, groups = np.zeros((2, rows, longest), dtype=np.int64)
        cells.ravel()[used] = tokens
        groups.ravel()[used] = 1 if rows == count else texts[: len(real)] + 1
        keys, unattended = groups, used[batch.attention_mask.ravel()[real] == 0]
        if len(unattended):
            keys = groups.copy()
            keys.ravel()[unattended] = UNATTENDED
        segments = batch.token_type_ids
        return cls(
            batch.input_ids.ravel()[None, repeated],
            positions[None],
            keys,
            batch.pooling_mask,
            (np.cumsum(flat) - 1).reshape(count, longest),
            indices,
            cells,
            np.ones((rows, 1), dtype=np.int64) if rows == count else groups,
            None if segments is None else segments.ravel()[None, repeated],
        )

    def arrays(self, *, shared: bool = True) -> list[Ids]:
        """The arrays in the order of the network's parameters; without `shared`, those of earlier exports."""
        segments = [] if self.token_type_ids is None else [self.token_type_ids]
        rows = [self.cells, self.query_groups] if shared else []
        pooling = [self.pooling_mask, self.places]
        return [self.input_ids, self.position_ids, self.key_groups, *pooling, self.indices, *rows, *segments]


def may_share(count: int, longest: int) -> bool:
    """Whether texts of a batch share rows if they fit."""
    return count > 1 and longest <= LONGEST_SHARED


def most_rows(size: BatchShape) -> int:
    """Upper bound of the rows that texts share: any two rows have more than T tokens, else they would be one."""
    return min(size.count, 1 + 2 * size.tokens // size.longest)


def _share_rows(lengths: Ids, longest: int) -> tuple[Ids, int]:
    """Place B texts in rows of `longest` tokens, long texts first, each in the first row with room.

    Returns where each text begins in the flattened rows (B,), and the number of rows.
    """
    starts, used = np.empty(len(lengths), dtype=np.int64), list[int]()
    for text in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[text])
        row = next((row for row, tokens in enumerate(used) if tokens + length <= longest), len(used))
        used += [0] * (row == len(used))
        starts[text] = row * longest + used[row]
        used[row] += length
    return starts, len(used)


@dataclass(frozen=True)
class PackedBatch:
    """Inputs of one forward pass without padding: N tokens of B sequences, end to end."""

    tokens: Ids
    """(4, N): token ids, positions in the sequence, whether pooling uses the token, segment ids (or zeros)."""
    bounds: Ids
    """(B + 1,): sequence b is tokens[:, bounds[b]:bounds[b + 1]]."""

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence]) -> PackedBatch:
        """B sequences of N tokens in total."""
        bounds = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=bounds[1:])
        tokens = np.zeros((4, int(bounds[-1])), dtype=np.int64)
        tokens[2] = 1
        for sequence, start, end in zip(sequences, bounds, bounds[1:], strict=False):
            tokens[0, start:end] = sequence.input_ids
            tokens[2, start : start + sequence.unpooled] = 0
            if sequence.token_type_ids is not None:
                tokens[3, start:end] = sequence.token_type_ids
        tokens[1] = np.arange(tokens.shape[1]) - np.repeat(bounds[:-1], np.diff(bounds))
        return cls(tokens, bounds)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return int(np.diff(self.bounds).max())
