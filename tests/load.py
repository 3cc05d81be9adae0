"""Clients under load: threads that send requests, and how each request ended."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx


class Clients:
    """Threads that each call `work` with their number, and an event that tells them to finish."""

    def __init__(self, count: int, work: Callable[[int, threading.Event], None]) -> None:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work, args=(number, self._stopping), daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the threads finish their requests, and wait for them."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def ending(send: Callable[[], httpx.Response]) -> tuple[str, httpx.Response | None]:
    """Send a request; returns how it ended (its status, `refused`, `no answer` or `lost`), and the response."""
    try:
        response = send()
    except httpx.ConnectError:
        return "refused", None
    except httpx.TimeoutException:
        return "no answer", None
    except (httpx.NetworkError, httpx.ProtocolError):
        return "lost", None
    return str(response.status_code), response
