"""A request that is being worked on, and how it ends early: at its deadline, when its client leaves, at a shutdown."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect

from api.connection import Exchange
from errors import DeadlineError, RequestIncompleteError
from settings import Settings


class Call:
    """The time in which a request may be received and worked on, as a context of the task that does so.

    Whatever ends it early is raised in place of the task's cancellation.
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
        """Runs while the body is being received."""
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
            # The frames of its traceback hold the request's texts: they must not wait for the garbage collector
            del reason, error, traceback

    def end(self, reason: Exception) -> None:
        """Stop the work and raise `reason` in its place; without effect once the work is over."""
        if not self._over and self._reason is None:
            self._reason = reason
            self._task.cancel()

    def receiving(self) -> None:
        """The body begins to arrive, or a part of it has."""
        self._heard_at = self._loop.time()
        if self._stalled is None:
            self._stalled = self._loop.call_later(self._pause_s, self._look)

    def received(self, exchange: Exchange) -> None:
        """The body is complete: from now on only a disconnect is expected from the client."""
        self._stop_waiting()
        self._exchange = exchange
        exchange.watch(lambda: self.end(ClientDisconnect()))

    def _look(self) -> None:
        """End the call of a client that has sent nothing for too long."""
        quiet_until = self._heard_at + self._pause_s
        if self._loop.time() < quiet_until:
            self._stalled = self._loop.call_at(quiet_until, self._look)
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
