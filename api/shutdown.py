"""The moment between a signal and its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType


def follow_signal(number: signal.Signals, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Have the loop make a call when a signal arrives, before whoever listened first does what it does."""
    first = signal.getsignal(number)

    def both(received: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        if callable(first):
            first(received, frame)

    signal.signal(number, both)
