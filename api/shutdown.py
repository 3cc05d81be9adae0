"""From a signal to the end of the process."""

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
"""From the end of the grace period to that of a process in which a thread still runs."""


def follow_signal(number: signal.Signals, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Have the loop make a call when a signal arrives, before whoever listened first does what it does."""
    first = signal.getsignal(number)

    def both(received: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        if callable(first):
            first(received, frame)

    signal.signal(number, both)


def end_process(grace_s: float) -> None:
    """End this process shortly after the grace period, also where a thread that cannot be interrupted still runs."""
    timer = threading.Timer(grace_s + _EXIT_S, _exit)
    timer.daemon = True  # a process that ends before does not wait for it
    timer.start()


def _exit() -> None:
    logger.warning("a thread is still running after the shutdown; the process ends without it")
    logging.shutdown()
    os._exit(0)
