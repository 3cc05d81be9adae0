"""Sequences of ids as the arrays of one forward pass: padded to a rectangle, end to end, or both in turn."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runners.text.tokenization import Sequence

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Padded inputs of one forward pass, each (B, T); padding is on the right."""

    input_ids: Ids
    attention_mask: Ids
    pooling_mask: Ids
    """The attention mask without the tokens that have no part in pooling."""
    token_type_ids: Ids | None

    @classmethod
    def of(cls, sequences: SequenceOf[Sequence], pad_id: int) -> Batch:
        """B sequences, the longest of T tokens."""
        longest = max(map(len, sequences))
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
        return cls(input_ids, attention_mask, pooling_mask, segments)

    def arrays(self) -> list[Ids]:
        """The inputs in the order in which networks take them."""
        inputs = [self.input_ids, self.attention_mask, self.pooling_mask]
        return inputs if self.token_type_ids is None else [*inputs, self.token_type_ids]


@dataclass(frozen=True)
class UnpaddedBatch:
    """A padded batch for a network in which only attention and pooling see the rectangle (B, T).

    The rest, most of the work, gets the N real tokens end to end.
    """

    input_ids: Ids
    """(1, N)"""
    position_ids: Ids
    """(1, N): the place of each token within its sequence, from 0."""
    attention_mask: Ids
    """(B, T)"""
    pooling_mask: Ids
    """(B, T)"""
    places: Ids
    """(B, T): which of the N each token of the rectangle is; any of them where that is padding."""
    indices: Ids
    """(N,): where in the flattened rectangle each of the N stands."""
    token_type_ids: Ids | None
    """(1, N)"""

    @classmethod
    def of(cls, batch: Batch, step: int = 1) -> UnpaddedBatch:
        """Without the padding of `batch`; N is a multiple of `step`, filled up with repetitions that nobody sees."""
        flat = batch.attention_mask.ravel()
        real = np.flatnonzero(flat)
        indices = np.pad(real, (0, -len(real) % step))
        segments = batch.token_type_ids
        return cls(
            batch.input_ids.ravel()[None, indices],
            indices[None] % batch.attention_mask.shape[1],
            batch.attention_mask,
            batch.pooling_mask,
            (np.cumsum(flat) - 1).reshape(batch.attention_mask.shape),
            indices,
            None if segments is None else segments.ravel()[None, indices],
        )

    def arrays(self) -> list[Ids]:
        """The inputs in the order in which networks take them."""
        segments = [] if self.token_type_ids is None else [self.token_type_ids]
        rectangle = [self.attention_mask, self.pooling_mask, self.places]
        return [self.input_ids, self.position_ids, *rectangle, self.indices, *segments]


@dataclass(frozen=True)
class PackedBatch:
    """Inputs of one forward pass end to end, N tokens of B sequences, without padding."""

    tokens: Ids
    """(4, N): token ids, positions within the sequence, whether pooling counts the token, segment ids (or zeros)."""
    bounds: Ids
    """(B + 1,): sequence b is tokens[:, bounds[b]:bounds[b + 1]]."""

    @classmethod
    def of(cls, sequences: SequenceOf[Sequence]) -> PackedBatch:
        """B sequences of N tokens together."""
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
