"""Ends a request early: at its deadline, when its client disconnects, or at shutdown."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect

from api.connection import Exchange
from errors import DeadlineError, RequestIncompleteError
from settings import Settings


class Call:
    """Context manager for a task that receives and answers a request. `end` cancels the task.

    The reason for ending early is raised instead of CancelledError.
    """

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._limit_s = settings.request_timeout_s
        self._pause_s = settings.client_timeout_s
        self._reason: Exception | None = None
        self._over = False
        self._deadline = self._loop.call_later(self._limit_s, self._on_deadline)
        self._stalled: asyncio.TimerHandle | None = None
        """Set while the body is being received."""
        self._heard_at = 0.0
        self._exchange: Exchange | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        self._deadline.cancel()
        self._stop_waiting()
        if self._exchange is not None:
            self._exchange.unwatch()
        reason, self._reason = self._reason, None
        if reason is None:
            return
        self._task.uncancel()
        try:
            if isinstance(error, asyncio.CancelledError):
                raise reason from None
        finally:
            # Break the reference cycle: the traceback's frames hold the request's texts
            del reason, error, traceback

    def end(self, reason: Exception) -> None:
        """Cancel the task, which then raises `reason`. No effect after the context has ended."""
        if not self._over and self._reason is None:
            self._reason = reason
            self._task.cancel()

    def receiving(self) -> None:
        """Note that a part of the body has arrived and that more is expected."""
        self._heard_at = self._loop.time()
        if self._stalled is None:
            self._stalled = self._loop.call_later(self._pause_s, self._check_pause)

    def received(self, exchange: Exchange) -> None:
        """Note that the body is complete, and watch for a disconnect."""
        self._stop_waiting()
        self._exchange = exchange
        exchange.watch(lambda: self.end(ClientDisconnect()))

    def _check_pause(self) -> None:
        """End the request if no part of the body has arrived for too long."""
        quiet_until = self._heard_at + self._pause_s
        if self._loop.time() < quiet_until:
            self._stalled = self._loop.call_at(quiet_until, self._check_pause)
        else:
            self.end(
                RequestIncompleteError(
                    f"The rest of the request body did not arrive within {self._pause_s:g} s (CLIENT_TIMEOUT_S)."
                )
            )

    def _on_deadline(self) -> None:
        if self._stalled is not None:
            reason: Exception = RequestIncompleteError(
                f"The request body did not arrive within {self._limit_s:g} s (REQUEST_TIMEOUT_S)."
            )
        else:
            reason = DeadlineError(
                f"No answer within {self._limit_s:g} s (REQUEST_TIMEOUT_S). Send fewer or shorter texts, or try again "
                "later."
            )
        self.end(reason)

    def _stop_waiting(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
