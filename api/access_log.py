"""What is known of each request at its end: its log line, its metrics and its trace."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import orjson
from starlette.datastructures import Headers

import metrics
from runners.timings import Timings

if TYPE_CHECKING:  # its packages are loaded only where tracing is on
    from api.tracing import Tracing

RequestLog = Literal["text", "json", "off"]

_READINESS = "/readyz"  # 503 while models load is what it is for

logger = logging.getLogger("service.requests")


@dataclass
class Observation:
    """One request; whoever works on it adds what it knows."""

    request_id: str
    method: str
    route: str
    quiet: bool = False
    status: int = 0
    model: str = ""
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    error: str = ""
    timings: Timings = field(default_factory=Timings)


_current: contextvars.ContextVar[Observation | None] = contextvars.ContextVar("observation", default=None)


@contextlib.contextmanager
def observing(seen: Observation) -> Iterator[None]:
    """Make a request the current one."""
    token = _current.set(seen)
    try:
        yield
    finally:
        _current.reset(token)


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


class AccessLog:
    """Says at the end of each request what became of it."""

    def __init__(self, log: RequestLog, tracing: Tracing | None = None) -> None:
        self._log = log
        self._tracing = tracing
        if log == "json":
            _write_bare_lines()

    def begin(self, seen: Observation) -> None:
        """A request whose head has arrived."""
        _in_progress(seen.route).inc()

    def note(self, seen: Observation, seconds: float, headers: Headers) -> None:
        """A request that has ended after so many seconds."""
        _in_progress(seen.route).dec()
        _answers(seen.route, seen.model, str(seen.status)).inc()
        _request_seconds(seen.route).observe(seconds)
        if seen.error:
            metrics.ERRORS.labels(seen.error).inc()
        if seen.truncated:
            metrics.TRUNCATIONS.labels(seen.model).inc(seen.truncated)
        if seen.texts:
            for stage, value in seen.timings.stages().items():
                _stage_seconds(stage, seen.model).observe(value)
        if seen.quiet and (seen.status < 400 or seen.route == _READINESS):
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
            _write(_json_line(seen, seconds) if self._log == "json" else _text_line(seen, seconds))


# prometheus_client looks a label up under a lock, several times a request
_in_progress = functools.cache(metrics.REQUESTS_IN_PROGRESS.labels)
_answers = functools.cache(metrics.REQUESTS.labels)
_request_seconds = functools.cache(metrics.REQUEST_SECONDS.labels)
_stage_seconds = functools.cache(metrics.STAGE_SECONDS.labels)


def _write(line: str) -> None:
    """A line of the log, without the search for its caller, which takes as long as all the rest."""
    if logger.isEnabledFor(logging.INFO):
        logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, line, (), None, "note"))


def _write_bare_lines() -> None:
    """Nothing before a line of JSON: it has its own time."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers, logger.propagate = [handler], False


def server_timing(timings: Timings, total_s: float) -> str:
    """The stages of a request, as the header Server-Timing gives them: in milliseconds."""
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
    return " ".join([f"{name}={value}" for name, value in _fields(seen, seconds).items()])
