"""Engines that turn a padded batch into one row a text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# OpenVINO's converter reports each conversion to its makers without asking; without this package it has no voice
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes the import fail

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Padded inputs of one forward pass, each (B, T); padding is on the right."""

    input_ids: Ids
    attention_mask: Ids
    pooling_mask: Ids
    """The attention mask without the tokens that have no part in pooling."""
    token_type_ids: Ids | None

    def arrays(self) -> list[Ids]:
        """The inputs in the order in which networks take them."""
        inputs = [self.input_ids, self.attention_mask, self.pooling_mask]
        return inputs if self.token_type_ids is None else [*inputs, self.token_type_ids]


class OutOfMemoryError(RuntimeError):
    """A pass did not fit the device's memory; a smaller one may."""


class Backend(Protocol):
    """A loaded model."""

    name: str
    """What /models says of it: `torch float32 on cpu`."""

    def forward(self, batch: Batch) -> Rows:
        """(B, T) ids -> (B, H) pooled vectors of an embedder, (B, 1) logits of a reranker, in float32."""
        ...

    def forward_exact(self, batch: Batch) -> Rows:
        """The same in float32, for a batch whose rows were not finite; slow."""
        ...

    @property
    def beside(self) -> Callable[[Batch], Rows] | None:
        """`forward` of a second copy of the network, which may run while the first does; None where none is kept."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...
