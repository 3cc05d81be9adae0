"""One client connection: uvicorn's HTTP/1.1 protocol with limits on what a client may hold.

uvicorn limits neither the size of a request head nor its time, drops the body of a request that offers an upgrade,
closes idle connections earlier than most client pools, and answers its own errors as plain text.
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
"""Headers, and tokens of the Connection header, with which a client offers another protocol."""
EXCHANGE = "exchange"
"""The key of an Exchange in the ASGI scope."""
_LINGER_S = 2.0
"""How long a client that was refused may go on sending."""
_FIRST_PROBE_S, _LONGEST_PROBE_S = 1.0, 15.0
"""Between two looks at a client that has closed its sending side."""


@dataclass
class Connections:
    """The open connections of a worker, and their limits."""

    keep_alive_s: float
    client_timeout_s: float
    max_head_bytes: int
    open: set[Connection] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings) -> Connections:
        """None yet, with the limits of the settings."""
        return cls(settings.keep_alive_s, settings.client_timeout_s, settings.max_head_bytes)

    def install(self) -> None:
        """Have uvicorn use `Connection` in this process: BentoML's worker leaves uvicorn its choice of a protocol."""
        protocol: Any = partial(Connection, self)
        uvicorn.config.HTTP_PROTOCOLS["auto"] = protocol

    def abort(self) -> None:
        """Close every connection at once, whatever is still to be sent."""
        for connection in list(self.open):
            connection.abort()


class Exchange:
    """What ASGI does not tell the app of the connection that a request came on; without one, nothing happens to it."""

    def __init__(self, cycle: Any = None) -> None:
        self._cycle = cycle
        self._on_disconnect: Callable[[], None] | None = None

    @property
    def is_body_unread(self) -> bool:
        """Whether a part of the request's body has not arrived.

        The connection then ends with the answer: what follows on it would be taken for the next request.
        """
        return self._cycle is not None and self._cycle.more_body

    def watch(self, on_disconnect: Callable[[], None]) -> None:
        """Call `on_disconnect` when the client leaves before its answer is complete."""
        self._on_disconnect = on_disconnect
        if self._cycle is None:
            return
        if self._cycle.disconnected:
            on_disconnect()
        else:
            self._cycle.flow.resume_reading()  # else the end of the connection would not be noticed

    def unwatch(self) -> None:
        """Do not call."""
        self._on_disconnect = None

    def disconnected(self) -> None:
        """The client has left."""
        if self._on_disconnect is not None:
            self._on_disconnect()


class Timer:
    """A call that comes later, at most one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the call is still to come."""
        return self._handle is not None

    def start(self, delay_s: float, call: Callable[[], None]) -> None:
        """Make the call after so many seconds; one that was still to come is not made."""
        self.stop()
        self._handle = self._loop.call_later(delay_s, self._fire, call)

    def stop(self) -> None:
        """Do not make the call."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self, call: Callable[[], None]) -> None:
        self._handle = None
        call()


class Connection(HttpToolsProtocol):
    """A connection that a slow, silent or hostile client cannot hold, and whose refusals have our error body."""

    def __init__(self, connections: Connections, config: Any, server_state: Any, app_state: Any, _loop: Any = None):
        super().__init__(config, server_state, app_state, _loop)
        if isinstance(self.app, ProxyHeadersMiddleware):
            self.app = self.app.app  # what it corrects, the client's address and the scheme, is read by nothing here
        self.timeout_keep_alive = connections.keep_alive_s  # type: ignore[assignment]  # uvicorn: whole seconds only
        self._limits = connections
        self._active_cycle: Any = None
        """The request that is being answered; of pipelined ones the oldest."""
        self._exchange = Exchange()
        """That of the active cycle."""
        self._in_head = False
        self._unparsed_bytes = 0
        """Read since the parser last had a whole head or a piece of a body."""
        self._refusal: ServiceError | None = None
        self._lingering = False
        self._declining = False
        """Whether the head that was just read offers another protocol, and is about to be read without the offer."""
        self._head_timer, self._reader_timer, self._probe_timer = (Timer(self.loop) for _ in range(3))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self._limits.open.add(self)
        self._wait_for_a_request()

    def abort(self) -> None:
        """Close the connection at once; what is still written to it is dropped."""
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
            self._wait_for_a_request()

    def _wait_for_a_request(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse(InvalidRequestError("The request is not valid HTTP/1.1."))

    def _decline(self, rest: bytes) -> None:
        """Read the request again without its offer of another protocol, which a server may ignore (RFC 9110, 7.8).

        httptools takes what follows such a head for the other protocol; `rest` is that part of what has arrived.
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
        """uvicorn knows only the newest of several pipelined requests, and would go on writing for the others."""
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

    def eof_received(self) -> bool | None:  # type: ignore[override]  # true: the transport stays open for the answer
        """A client that has sent its whole request may close its sending side and still wait for the answer.

        One that has gone altogether looks the same until something is sent to it.
        """
        if self.scheme == "https" or self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return None
        self.cycle.keep_alive = False
        if self.scope.get("http_version") == "1.1":  # older clients know no interim answers
            self._probe(_FIRST_PROBE_S)
        return True

    def _probe(self, delay_s: float) -> None:
        """After `delay_s`, send an interim answer, which a client that is gone refuses; and so on until the answer."""

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
        """Close the connection of a client that reads nothing of its answer for `client_timeout_s`."""

        def look() -> None:
            now_unread = self.transport.get_write_buffer_size()
            if now_unread == unread_bytes:
                self.abort()
            else:
                self._watch_reader(now_unread)

        self._reader_timer.start(self._limits.client_timeout_s, look)

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
        """Read no more of this connection; the first reason counts."""
        self._refusal = self._refusal or error

    def _send_refusal(self, error: ServiceError) -> None:
        self._head_timer.stop()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False  # an answer is under way, in the middle of which nothing may be written
        elif not self.transport.is_closing():
            body = error_body(error)
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[error.status] + head + body)
            self.linger()

    def linger(self) -> None:
        """Close the sending side, and all of it a little later: closed at once with data unread, the connection would
        be reset, and the client would not see the answer."""
        self._lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._head_timer.start(_LINGER_S, self.transport.close)
        else:
            self.transport.close()


class _AnswerTransport:
    """What uvicorn writes one answer to. An answer before the end of its request's body must not be lost at the end."""

    def __init__(self, connection: Connection, cycle: Any) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self._connection = connection
        self._cycle = cycle

    def close(self) -> None:
        """Close the connection once the answer is sent."""
        if self._cycle.more_body:
            self._connection.linger()
        else:
            self._connection.transport.close()
