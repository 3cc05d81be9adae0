"""Token sequences as arrays for one forward pass: padded, partly unpadded, or packed end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runners.contracts import TokenSequence

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class PaddedBatch:
    """Inputs of one forward pass, each (B, T), padded on the right."""

    input_ids: Ids
    attention_mask: Ids
    pooling_mask: Ids
    """The attention mask without the tokens that pooling ignores."""
    token_type_ids: Ids | None

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], pad_id: int) -> PaddedBatch:
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
        """The arrays in the order of the network's parameters."""
        inputs = [self.input_ids, self.attention_mask, self.pooling_mask]
        return inputs if self.token_type_ids is None else [*inputs, self.token_type_ids]


@dataclass(frozen=True)
class UnpaddedBatch:
    """A batch for a network that pads only for attention and pooling, to (B, T).

    All other layers, most of the work, compute the N real tokens end to end.
    """

    input_ids: Ids
    """(1, N)"""
    position_ids: Ids
    """(1, N): the position of each token in its sequence, from 0."""
    attention_mask: Ids
    """(B, T)"""
    pooling_mask: Ids
    """(B, T)"""
    places: Ids
    """(B, T): the index of each padded token among the N; arbitrary for padding."""
    indices: Ids
    """(N,): the index of each of the N in the flattened (B, T)."""
    token_type_ids: Ids | None
    """(1, N)"""

    @classmethod
    def of(cls, batch: PaddedBatch, step: int = 1) -> UnpaddedBatch:
        """Remove the padding of `batch`. N is rounded up to a multiple of `step` with unused repetitions."""
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
        """The arrays in the order of the network's parameters."""
        segments = [] if self.token_type_ids is None else [self.token_type_ids]
        rectangle = [self.attention_mask, self.pooling_mask, self.places]
        return [self.input_ids, self.position_ids, *rectangle, self.indices, *segments]


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
