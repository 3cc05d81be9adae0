"""The ASGI app: the path of every request, from its head to the last byte of its response.

    route -> request id -> API key -> body -> handler -> response -> metrics and log line

Exceptions become responses here: those of handlers, and those that end a request early (api/call.py).
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access_log import AccessLog, RequestRecord, current, record_key, server_timing
from api.auth import CHALLENGE, ApiKeys
from api.body import BodyBudget, BodyReader, receive_parts
from api.call import Call
from api.connection import EXCHANGE, Connections, Exchange
from api.cross_site import note_origin
from api.error_body import error_response, translate
from api.key_rates import RATE_HEADERS
from api.routing import Match, Request, Route, Routes
from errors import AuthenticationError, ServiceError
from settings import Settings

if TYPE_CHECKING:  # imports OpenTelemetry, which only tracing needs
    from api.tracing import Tracing

CLIENT_CLOSED_REQUEST = 499
_PREFLIGHT_AGE_S = 600
_CLOSE_S = 1.0
"""Time that clients have to read the response at the end of the grace period, before their connections are closed."""
_random = random.Random()  # noqa: S311  # a request id is not secret, and the system's generator releases the GIL
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class App:
    """The ASGI app of one worker. `lifespan` is BentoML's own app, which starts and stops the service."""

    def __init__(self, settings: Settings, *, lifespan: ASGIApp) -> None:
        self.routes = Routes([])
        """Set when the service has started; no request arrives before that."""
        self.connections = Connections.of(settings)
        self._settings = settings
        self._lifespan = lifespan
        self._keys = ApiKeys(settings.keys, settings.key_tokens_per_minute) if settings.keys else None
        self._cors = _cors(settings)
        self.bodies = BodyBudget(settings)
        self._log = AccessLog(settings.request_log, _tracing(settings))
        self._calls: set[Call] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        started = time.perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        match = self.routes.find(scope["path"])
        route = match.methods.get(scope["method"])
        record = RequestRecord(_request_id(headers), scope["method"], match.path, route is not None and route.quiet)
        exchange: Exchange = scope.get(EXCHANGE) or Exchange()
        reader = BodyReader(self.bodies)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                total_s = time.perf_counter() - started
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", record.request_id.encode()),
                    (b"server-timing", server_timing(record.timings, total_s).encode()),
                ]
                if record.key_rate is not None:
                    record.key_rate.take(record.tokens)
                    message["headers"] += record.key_rate.headers()
                if exchange.is_body_unread:
                    message["headers"].append((b"connection", b"close"))
                self._allow_origin(headers, message)
            await send(message)

        current.set(record)
        self._log.begin(record)
        try:
            answer = await self._answer(Request(scope, headers, match.params), match, reader, receive, exchange)
            try:
                await answer(scope, receive, send_with_headers)
            except Exception as error:
                if record.status:  # the response has begun: uvicorn closes the connection
                    translate(error)  # logs the error
                else:
                    await error_response(error, path=match.path)(scope, receive, send_with_headers)
        finally:
            reader.close()
            self._log.end(record, time.perf_counter() - started, headers)

    async def _answer(
        self, request: Request, match: Match, reader: BodyReader, receive: Receive, exchange: Exchange
    ) -> ASGIApp:
        """The handler's response, or an error response."""
        path = match.path if match.methods else request.scope["path"]
        try:
            if self._cors is not None and _is_preflight(request):
                return self._cors.preflight_response(Headers(request.headers))
            route = self._admit(request, match)
            note_origin(request.headers, self._settings.cors_origins)
            with Call(self._settings) as call:
                self._calls.add(call)
                try:
                    if route.streamed:
                        request.parts = _parts(receive, call, exchange)
                    elif route.method == "POST":
                        request.body = await reader.read(receive, request.headers, call.receiving)
                        call.received(exchange)
                    return await route.handle(request)
                finally:
                    self._calls.discard(call)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)  # only for the log
        except AuthenticationError as error:
            return error_response(error, CHALLENGE, path=path)
        except Exception as error:
            return error_response(error, path=path)

    def _admit(self, request: Request, match: Match) -> Route:
        """The route. The API key is checked first, so that a request without one cannot discover routes."""
        route = match.methods.get(request.scope["method"])
        if self._keys is not None and not (route is not None and route.open):
            key = self._keys.check(request.headers)
            record_key(key.name, key.rate)
            if key.rate is not None and request.scope["method"] == "POST":
                key.rate.check()
        if route is not None:
            return route
        if match.methods:
            raise HTTPException(405, headers={"Allow": match.allowed()})
        raise HTTPException(404)

    def _allow_origin(self, request: Mapping[str, str], start: Message) -> None:
        """Add CORS headers, so that pages of allowed origins can read the response, errors included."""
        origin = request.get("origin")
        if self._cors is None or origin is None:
            return
        answer = MutableHeaders(raw=start["headers"])
        answer.add_vary_header("Origin")
        if self._cors.is_allowed_origin(origin):
            answer.update(self._cors.simple_headers)
            answer.setdefault("Access-Control-Allow-Origin", origin)

    def shut_down(self, grace_s: float, error: ServiceError) -> None:
        """After the grace period, end all running requests with `error`, then close all connections."""
        loop = asyncio.get_running_loop()
        loop.call_later(grace_s, self._end_calls, error)
        loop.call_later(grace_s + _CLOSE_S, self.connections.abort)

    def _end_calls(self, error: ServiceError) -> None:
        for call in list(self._calls):
            call.end(error)


async def _parts(receive: Receive, call: Call, exchange: Exchange) -> AsyncIterator[bytes]:
    async for part in receive_parts(receive, call.receiving):
        yield part
    call.received(exchange)


def _request_id(headers: Mapping[str, str]) -> str:
    """The client's request id if it is safe to log, else a new one."""
    given = headers.get("x-request-id")
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return f"{_random.getrandbits(128):032x}"


def _is_preflight(request: Request) -> bool:
    headers = request.headers
    return request.scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def _cors(settings: Settings) -> CORSMiddleware | None:
    """Starlette's CORS rules; `App` calls them directly instead of wrapping an app."""
    if not settings.cors_origins:
        return None
    options: dict[str, Any] = {
        "allow_origins": settings.cors_origins,
        "allow_methods": ["GET", "POST", "DELETE"],
        "allow_credentials": "*" not in settings.cors_origins,  # browsers reject them for *
        "allow_headers": ["*"],  # Starlette returns the requested headers, so Authorization is allowed too
        "allow_private_network": True,  # Chromium requires it when a public page calls a private address
        "expose_headers": ["Retry-After", "Server-Timing", "X-Request-Id", "X-Warnings", *RATE_HEADERS],
        "max_age": _PREFLIGHT_AGE_S,
    }
    return CORSMiddleware(Response(), **options)


def _tracing(settings: Settings) -> Tracing | None:
    if not settings.tracing:
        return None
    from api.tracing import Tracing

    return Tracing()
