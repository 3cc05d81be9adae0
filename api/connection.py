"""One client connection: uvicorn's HTTP/1.1 protocol with limits for slow and idle clients.

uvicorn limits neither the size nor the duration of a request head, drops the body of a request that offers an upgrade,
closes idle connections before most client pools do, and sends its own errors as plain text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httptools
import uvicorn.config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.error_body import error_body
from errors import HeadTooLargeError, InvalidRequestError, RequestIncompleteError, ServiceError
from settings import Settings

_OFFERS = frozenset({b"upgrade", b"http2-settings"})
"""Headers and Connection tokens that offer an upgrade to another protocol."""
EXCHANGE = "exchange"
"""The key of an Exchange in the ASGI scope."""
_LINGER_S = 2.0
"""How long a client may continue to send after an error response."""
_FIRST_PROBE_S, _LONGEST_PROBE_S = 1.0, 15.0
"""Intervals between checks of a client that has closed its sending side."""


@dataclass
class Connections:
    """The open connections of a worker, and their limits."""

    keep_alive_s: float
    client_timeout_s: float
    max_head_bytes: int
    open: set[Connection] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings) -> Connections:
        """No connections yet, with the limits from the settings."""
        return cls(settings.keep_alive_s, settings.client_timeout_s, settings.max_head_bytes)

    def install(self) -> None:
        """Register `Connection` as uvicorn's default protocol, which BentoML's worker uses."""
        protocol: Any = partial(Connection, self)
        uvicorn.config.HTTP_PROTOCOLS["auto"] = protocol

    def abort(self) -> None:
        """Close all connections immediately; unsent data is dropped."""
        for connection in list(self.open):
            connection.abort()


class Exchange:
    """The state of a request's connection that ASGI does not expose. Without a cycle, as in tests, it never changes."""

    def __init__(self, cycle: Any = None) -> None:
        self._cycle = cycle
        self._on_disconnect: Callable[[], None] | None = None

    @property
    def is_body_unread(self) -> bool:
        """Whether a part of the request's body has not arrived.

        The connection then closes after the response, because the rest would be parsed as the next request.
        """
        return self._cycle is not None and self._cycle.more_body

    def watch(self, on_disconnect: Callable[[], None]) -> None:
        """Call `on_disconnect` if the client disconnects before the response is complete."""
        self._on_disconnect = on_disconnect
        if self._cycle is None:
            return
        if self._cycle.disconnected:
            on_disconnect()
        else:
            self._cycle.flow.resume_reading()  # a paused connection does not report its end

    def unwatch(self) -> None:
        """Cancel `watch`."""
        self._on_disconnect = None

    def disconnected(self) -> None:
        """Report that the client has disconnected."""
        if self._on_disconnect is not None:
            self._on_disconnect()


class Timer:
    """At most one pending call."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether a call is pending."""
        return self._handle is not None

    def start(self, delay_s: float, call: Callable[[], None]) -> None:
        """Schedule a call; it replaces the pending one."""
        self.stop()
        self._handle = self._loop.call_later(delay_s, self._fire, call)

    def stop(self) -> None:
        """Cancel the pending call."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self, call: Callable[[], None]) -> None:
        self._handle = None
        call()


class Connection(HttpToolsProtocol):
    """A connection with limits for slow, silent and hostile clients. Its error responses have our error body."""

    def __init__(self, connections: Connections, config: Any, server_state: Any, app_state: Any, _loop: Any = None):
        super().__init__(config, server_state, app_state, _loop)
        if isinstance(self.app, ProxyHeadersMiddleware):
            self.app = self.app.app  # it sets the client's address and the scheme, which the app does not read
        self.timeout_keep_alive = connections.keep_alive_s  # type: ignore[assignment]  # uvicorn: whole seconds only
        self._limits = connections
        self._active_cycle: Any = None
        """The request that is being answered: the oldest of the pipelined requests."""
        self._exchange = Exchange()
        """The exchange of the active cycle."""
        self._in_head = False
        self._unparsed_bytes = 0
        """Bytes read since the parser last completed a head or a part of a body."""
        self._refusal: ServiceError | None = None
        self._lingering = False
        self._declining = False
        """Whether the last head offers an upgrade and will be parsed again without the offer."""
        self._head_timer, self._reader_timer, self._probe_timer = (Timer(self.loop) for _ in range(3))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self._limits.open.add(self)
        self._start_keep_alive()

    def abort(self) -> None:
        """Close the connection immediately; unsent data is dropped."""
        self._end_active_cycle()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_active_cycle()
        super().connection_lost(exc)
        self._limits.open.discard(self)
        self._unset_keepalive_if_required()
        for timer in (self._head_timer, self._reader_timer, self._probe_timer):
            timer.stop()

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        self._unset_keepalive_if_required()
        self._unparsed_bytes += len(data)
        self._feed(data)
        if self._unparsed_bytes > self._limits.max_head_bytes:
            self._refuse(self._head_too_large())
        if self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self._in_head:
            if not self._head_timer.running:
                self._head_timer.start(self._limits.client_timeout_s, self._head_is_late)
        elif self.cycle is None or self.cycle.response_complete:
            self._start_keep_alive()

    def _start_keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse(InvalidRequestError("The request is not valid HTTP/1.1."))

    def _decline(self, rest: bytes) -> None:
        """Parse the request again without its upgrade offer, which a server may ignore (RFC 9110, section 7.8).

        httptools does not parse the data after such a head; `rest` is the part of it that has arrived.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(InvalidRequestError("CONNECT is not supported: this server is not a proxy."))
            return
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        for name, value in self.headers:
            if name == b"connection":
                value = b",".join(each for each in value.split(b",") if each.strip().lower() not in _OFFERS)
            if name not in _OFFERS and value:
                lines.append(b"%b: %b" % (name, value))
        self._declining = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unparsed_bytes = 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.max_head_bytes:
            self._refuse(self._head_too_large())
        elif self.parser.should_upgrade():
            self._declining = True
        else:
            self._head_timer.stop()
            super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._active_cycle = cycle
        cycle.transport = _AnswerTransport(self, cycle)
        cycle.scope[EXCHANGE] = self._exchange = Exchange(cycle)
        super()._start_asgi_task(cycle, app)

    def _end_active_cycle(self) -> None:
        """Mark the active request as disconnected. uvicorn marks only the newest pipelined request."""
        if self._active_cycle is not None:
            self._active_cycle.disconnected = True
            self._active_cycle.message_event.set()
            self._exchange.disconnected()

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refusal is None and not self._declining:
            super().on_message_complete()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # true: the transport stays open
        """Keep the connection open if a client closes its sending side after a complete request.

        A client that has closed both sides looks the same until data is sent to it.
        """
        if self.scheme == "https" or self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return None
        self.cycle.keep_alive = False
        if self.scope.get("http_version") == "1.1":  # HTTP/1.0 has no interim responses
            self._probe(_FIRST_PROBE_S)
        return True

    def _probe(self, delay_s: float) -> None:
        """Send interim responses until the final one, first after `delay_s`. A closed client resets the connection."""

        def send() -> None:
            if self.transport.is_closing() or self.cycle.response_started:
                return
            if not self._active_cycle.response_started:
                self.transport.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            self._probe(min(2 * delay_s, _LONGEST_PROBE_S))

        self._probe_timer.start(delay_s, send)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader_timer.stop()

    def _watch_reader(self, unread_bytes: int) -> None:
        """Close the connection if the client reads nothing of its response for `client_timeout_s`."""

        def check() -> None:
            now_unread = self.transport.get_write_buffer_size()
            if now_unread == unread_bytes:
                self.abort()
            else:
                self._watch_reader(now_unread)

        self._reader_timer.start(self._limits.client_timeout_s, check)

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequestError(msg))

    def _head_too_large(self) -> HeadTooLargeError:
        return HeadTooLargeError(
            f"The request's path and headers exceed {self._limits.max_head_bytes} bytes (MAX_HEAD_BYTES). "
            "Send the texts in the body."
        )

    def _head_is_late(self) -> None:
        limit_s = self._limits.client_timeout_s
        error = RequestIncompleteError(f"The request head did not arrive within {limit_s:g} s (CLIENT_TIMEOUT_S).")
        self._refuse(error)
        self._send_refusal(error)

    def _refuse(self, error: ServiceError) -> None:
        """Stop reading requests, and send `error` next. The first call wins."""
        self._refusal = self._refusal or error

    def _send_refusal(self, error: ServiceError) -> None:
        self._head_timer.stop()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False  # close after the response that is being sent
        elif not self.transport.is_closing():
            body = error_body(error)
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[error.status] + head + body)
            self.linger()

    def linger(self) -> None:
        """Close the sending side now and the connection later. Closing a connection with unread data resets it, and
        the client would lose the response."""
        self._lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._head_timer.start(_LINGER_S, self.transport.close)
        else:
            self.transport.close()


class _AnswerTransport:
    """The transport for one response. It lingers on close if the request's body has not been read."""

    def __init__(self, connection: Connection, cycle: Any) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self._connection = connection
        self._cycle = cycle

    def close(self) -> None:
        """Close the connection after the response."""
        if self._cycle.more_body:
            self._connection.linger()
        else:
            self._connection.transport.close()
