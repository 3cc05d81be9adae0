"""Shutdown: following signals, and ending a process whose threads do not end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

logger = logging.getLogger("service")

_EXIT_S = 4.0
"""Time after the grace period until a process with a running thread is ended."""


def follow_signal(number: signal.Signals, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call `call` on the loop when a signal arrives, and then the previous handler of the signal."""
    first = signal.getsignal(number)

    def both(received: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        if callable(first):
            first(received, frame)

    signal.signal(number, both)


def end_process(grace_s: float) -> None:
    """End this process shortly after the grace period, even if a thread is still running."""
    timer = threading.Timer(grace_s + _EXIT_S, _exit)
    timer.daemon = True  # the process does not wait for it
    timer.start()


def _exit() -> None:
    logger.warning("a thread is still running after the shutdown; the process ends without it")
    logging.shutdown()
    os._exit(0)
