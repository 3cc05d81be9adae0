"""Engines that turn sequences of token ids into one row each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from runners.text.tokenization import Sequence

if TYPE_CHECKING:
    from runners.batching.planning import Extent

# OpenVINO's converter reports each conversion to its makers without asking; without this package it has no voice
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes the import fail

Rows = NDArray[np.float32]
Sequences = SequenceOf[Sequence]


class OutOfMemoryError(RuntimeError):
    """A pass did not fit the device's memory; a smaller one may."""


class Backend(Protocol):
    """A loaded model."""

    name: str
    """What /models says of it: `torch float32 on cpu`."""

    padding_cost: float
    """What a token of padding costs beside a real one: 1 where it is computed like any other, 0 where there is none."""

    overlaps: bool
    """Whether a pass may be handed over while another one runs, so that the device need not wait for the next."""

    memory_bytes: int
    """What it took when it was loaded, as measured; 0 where that cannot be told."""

    @property
    def dtype(self) -> str:
        """In which it computes: float32, bfloat16 or float16."""
        ...

    @property
    def weights_dtype(self) -> str:
        """In which it keeps the weights."""
        ...

    def forward(self, sequences: Sequences) -> Rows:
        """B sequences -> (B, H) pooled vectors of an embedder, (B, 1) logits of a reranker, in float32."""
        ...

    def pass_bytes(self, size: Extent) -> int:
        """Upper bound of the memory that `forward` takes for a pass of this size beside the weights.

        0 where running out of it is an OutOfMemoryError, and not the end of the process.
        """
        ...

    def forward_exact(self, sequences: Sequences) -> Rows:
        """The same in float32, for sequences whose rows were not finite; slow."""
        ...

    @property
    def beside(self) -> Callable[[Sequences], Rows] | None:
        """`forward` of a second copy of the network, which may run while the first does; None where none is kept."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...
