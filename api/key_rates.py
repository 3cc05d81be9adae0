"""The rate at which one API key may use tokens (KEY_TOKENS_PER_MINUTE), and OpenAI's headers that report it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from errors import OverloadedError

_MINUTE_S = 60
RATE_HEADERS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
"""The headers that OpenAI's clients read: the limit, the tokens that are left, the time until all of them are."""


class KeyRate:
    """Tokens left to one key: at most `limit`, which come back within a minute.

    A request is accepted while tokens are left. Its own are known and subtracted after it, so `left` may be negative.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._left = float(limit)
        self._at = clock()

    def check(self) -> None:
        """OverloadedError if no tokens are left."""
        self._refill()
        if self._left < 1:
            raise OverloadedError(
                f"This API key has used its {self._limit} tokens per minute (KEY_TOKENS_PER_MINUTE). Try again later.",
                retry_after_s=math.ceil(self._seconds_until(1)),
            )

    def take(self, tokens: int) -> None:
        """Subtract the tokens of a request."""
        self._refill()
        self._left -= tokens

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The values of RATE_HEADERS."""
        reset_s = self._seconds_until(self._limit)
        values = (f"{self._limit}", f"{max(0, int(self._left))}", f"{reset_s:.2f}s")
        return [(name.encode(), value.encode()) for name, value in zip(RATE_HEADERS, values, strict=True)]

    def _seconds_until(self, tokens: float) -> float:
        return max(0.0, tokens - self._left) * _MINUTE_S / self._limit

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._limit, self._left + (now - self._at) * self._limit / _MINUTE_S)
        self._at = now
