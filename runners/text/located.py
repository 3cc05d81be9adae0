"""A text as one token sequence, with the characters that each token covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from errors import InvalidRequestError
from runners.contracts import TokenSequence


@dataclass(frozen=True)
class Located:
    """The sequence of a text after its prompt; `starts` and `stops` are the characters of the T tokens of both.

    Characters are counted from the start of the text, so that those of the prompt are negative. In the sequence,
    `before` special tokens come before the T tokens.
    """

    sequence: TokenSequence
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    before: int

    def find(self, spans: Sequence[tuple[int, int]], names: Sequence[str]) -> NDArray[np.int64]:
        """The tokens of each span of characters, as ranges (N, 2) in the sequence.

        They are those that cover a character of the span. InvalidRequestError names the first span without a token.
        """
        first, last = np.array(spans, dtype=np.int64).T
        ranges = np.stack(
            [np.searchsorted(self.stops, first, side="right"), np.searchsorted(self.starts, last, side="left")], axis=1
        )
        empty = np.flatnonzero(ranges[:, 0] >= ranges[:, 1])
        if len(empty):
            name = names[empty[0]]
            raise InvalidRequestError(f"{name} has no tokens.", param=name)
        return ranges + self.before
