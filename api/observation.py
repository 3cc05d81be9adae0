"""What is known of each request: its id, its log line, its metrics, and the headers that tell the client."""

from __future__ import annotations

import contextvars
import logging
import re
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import metrics
from runners.timings import Timings

if TYPE_CHECKING:  # its packages are loaded only where tracing is on
    from api.tracing import Tracing

RequestLog = Literal["text", "json", "off"]

PLAYGROUND_FILE = "/playground/{file}"
QUIET = frozenset({"/livez", "/readyz", "/healthz", "/health", "/metrics", "/models", "/playground", PLAYGROUND_FILE})
"""Asked every few seconds by machines or by the playground, or the playground itself: logged only when they fail."""
_READINESS = "/readyz"  # 503 while models load is what it is for
UNKNOWN_PATH = "/unknown"
"""Stands for every path that is no route: a scanner must not grow the label set, nor write into the log."""

ROUTE = "service.route"
"""Where a request's scope holds its route for those within this middleware."""

_PATTERNS = (
    (re.compile("/v1/models/.*"), "/v1/models/{name}"),
    (re.compile("/models/.+/load"), "/models/{name}/load"),
    (re.compile("/models/.+/unload"), "/models/{name}/unload"),
    (re.compile("/models/.+/import"), "/models/{name}/import"),
    (re.compile("/playground/.*"), PLAYGROUND_FILE),
)
"""Paths that hold a name, and what stands for all of them."""

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)

logger = logging.getLogger("service.requests")


@dataclass
class Observation:
    """One request; whoever works on it adds what it knows."""

    request_id: str
    method: str
    route: str
    status: int = 0
    model: str = ""
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    error: str = ""
    timings: Timings = field(default_factory=Timings)


_current: contextvars.ContextVar[Observation | None] = contextvars.ContextVar("observation", default=None)


def observe(*, model: str, texts: int, tokens: int, truncated: int, timings: Timings) -> None:
    """Note what a request asked for; without a request, as in a unit test, nothing happens."""
    seen = _current.get()
    if seen is None:
        return
    seen.model, seen.texts, seen.tokens, seen.truncated, seen.timings = model, texts, tokens, truncated, timings


def observe_model(model: str) -> None:
    """Note the model before its work begins, so that a failure has its name, too."""
    if (seen := _current.get()) is not None:
        seen.model = model


def observe_error(code: str) -> None:
    """Note what went wrong."""
    if (seen := _current.get()) is not None:
        seen.error = code


class ObservationMiddleware:
    """Around everything: gives a request its id, and says at its end what became of it."""

    def __init__(self, app: ASGIApp, *, log: RequestLog, tracing: Tracing | None = None) -> None:
        self.app = app
        self._log = log
        self._tracing = tracing
        if log == "json":
            _write_bare_lines()
        self._routes: frozenset[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._routes is None:
            self._routes = frozenset(paths(scope["app"]))
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope[ROUTE] = label(scope["path"], self._routes)
        seen = Observation(request_id, scope["method"], scope[ROUTE])
        token = _current.set(seen)
        started = time.perf_counter()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                answer = MutableHeaders(scope=message)
                answer["X-Request-Id"] = request_id
                answer["Server-Timing"] = _server_timing(seen.timings, time.perf_counter() - started)
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        finally:
            _current.reset(token)
            self._note(seen, time.perf_counter() - started, headers)

    def _note(self, seen: Observation, seconds: float, headers: Headers) -> None:
        metrics.REQUESTS.labels(seen.route, seen.model, str(seen.status)).inc()
        metrics.REQUEST_SECONDS.labels(seen.route).observe(seconds)
        if seen.error:
            metrics.ERRORS.labels(seen.error).inc()
        if seen.truncated:
            metrics.TRUNCATIONS.labels(seen.model).inc(seen.truncated)
        if seen.texts:
            for stage, value in seen.timings.stages().items():
                metrics.STAGE_SECONDS.labels(stage, seen.model).observe(value)
        if seen.route in QUIET and (seen.status < 400 or seen.route == _READINESS):
            return
        if self._tracing is not None:
            self._tracing.record(
                f"{seen.method} {seen.route}",
                headers=headers,
                seconds=seconds,
                timings=seen.timings,
                attributes=_attributes(seen),
                failed=seen.status >= 500,
            )
        if self._log != "off":
            logger.info(_json_line(seen, seconds) if self._log == "json" else _text_line(seen, seconds))


def _write_bare_lines() -> None:
    """Nothing before a line of JSON: it has its own time."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers, logger.propagate = [handler], False


def _server_timing(timings: Timings, total_s: float) -> str:
    stages = {name: value for name, value in timings.stages().items() if value} | {"total": total_s}
    return ", ".join(f"{name};dur={value * 1000:.2f}" for name, value in stages.items())


def _fields(seen: Observation, seconds: float) -> dict[str, object]:
    """What a line says: never a text, a vector or a key."""
    known: dict[str, object] = {
        "request_id": seen.request_id,
        "method": seen.method,
        "route": seen.route,
        "status": seen.status,
        "total_ms": round(seconds * 1000, 2),
    }
    if seen.model:
        known["model"] = seen.model
    if seen.texts:
        known |= {"texts": seen.texts, "tokens": seen.tokens, "truncated": seen.truncated}
        known |= {f"{name}_ms": round(value * 1000, 2) for name, value in seen.timings.stages().items()}
    if seen.error:
        known["error"] = seen.error
    return known


def _attributes(seen: Observation) -> dict[str, str | int]:
    """OpenTelemetry's names where it has some."""
    known: dict[str, str | int] = {
        "http.request.method": seen.method,
        "http.route": seen.route,
        "http.response.status_code": seen.status,
        "request.id": seen.request_id,
    }
    if seen.model:
        known["gen_ai.request.model"] = seen.model
    if seen.texts:
        known |= {"texts": seen.texts, "gen_ai.usage.input_tokens": seen.tokens}
    if seen.error:
        known["error.type"] = seen.error
    return known


def _json_line(seen: Observation, seconds: float) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return orjson.dumps({"time": now, **_fields(seen, seconds)}).decode()


def _text_line(seen: Observation, seconds: float) -> str:
    return " ".join(f"{name}={value}" for name, value in _fields(seen, seconds).items())


def label(path: str, routes: frozenset[str]) -> str:
    """A path as it stands in metrics and logs: a route, or one name for all that are none."""
    if path in routes:
        return path
    return next((name for pattern, name in _PATTERNS if pattern.fullmatch(path)), UNKNOWN_PATH)


def paths(app: Starlette) -> Iterator[str]:
    """Every route of an app and of those mounted in it."""
    for route in app.routes:
        if isinstance(route, Route):
            yield route.path
        elif isinstance(mounted := getattr(route, "app", None), Starlette):
            yield from paths(mounted)
