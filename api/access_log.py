"""The access log: a line, metrics and a trace for each request, written when it ends."""

from __future__ import annotations

import contextvars
import functools
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import orjson

import metrics
from api.key_rates import KeyRate
from metrics_batched import at_end_of_turn
from runners.contracts import Timings

if TYPE_CHECKING:  # imports OpenTelemetry, which only tracing needs
    from api.tracing import Tracing

RequestLog = Literal["text", "json", "off"]

_READINESS = "/readyz"  # 503 is normal while models load
_MESSAGE = "\0"
"""Placeholder for the message in a formatted record."""

logger = logging.getLogger("service.requests")


@dataclass(slots=True)
class RequestRecord:
    """The data that is logged for one request. The code that handles the request fills it in."""

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
    key: str = ""
    """Name of the API key, if it has one."""
    key_rate: KeyRate | None = None
    timings: Timings = field(default_factory=Timings)


current: contextvars.ContextVar[RequestRecord | None] = contextvars.ContextVar("request_record", default=None)
"""The record of the current request; None outside a request."""


def request_id() -> str:
    """The identifier of the current request; empty outside a request."""
    record = current.get()
    return record.request_id if record is not None else ""


def record_key(name: str, rate: KeyRate | None) -> None:
    """Record the name of the request's API key, and the rate from which its tokens are taken."""
    if (record := current.get()) is not None:
        record.key, record.key_rate = name, rate


def record_result(*, model: str, texts: int, tokens: int, truncated: int, timings: Timings) -> None:
    """Record the result of a request."""
    if (record := current.get()) is not None:
        record.model, record.texts, record.tokens = model, texts, tokens
        record.truncated, record.timings = truncated, timings


def record_model(model: str) -> None:
    """Record the model before it runs, so that errors are logged with it."""
    if (record := current.get()) is not None:
        record.model = model


def record_error(code: str) -> None:
    """Record an error code."""
    if (record := current.get()) is not None:
        record.error = code


class AccessLog:
    """Writes the log line, the metrics and the trace of each request when it ends."""

    def __init__(self, log: RequestLog, tracing: Tracing | None = None) -> None:
        self._format = {"text": _text_line, "json": _json_line}.get(log)
        self._tracing = tracing
        self._lines: list[str] = []
        if log == "json":
            _write_bare_lines()

    def begin(self, record: RequestRecord) -> None:
        """Count a request whose head has arrived."""
        _in_progress(record.route).inc()

    def end(self, record: RequestRecord, seconds: float, headers: Mapping[str, str]) -> None:
        """Log a request that took `seconds`."""
        _in_progress(record.route).dec()
        _answers(record.route, record.model, str(record.status)).inc()
        _request_seconds(record.route).observe(seconds)
        if record.key:
            _key_answers(record.key, str(record.status)).inc()
            _key_tokens(record.key).inc(record.tokens)
        if record.error:
            metrics.ERRORS.labels(record.error).inc()
        if record.truncated:
            metrics.TRUNCATIONS.labels(record.model).inc(record.truncated)
        if record.texts:
            for stage, value in record.timings.stages().items():
                _stage_seconds(stage, record.model).observe(value)
        if record.quiet and (record.status < 400 or record.route == _READINESS):
            return
        if self._tracing is not None:
            self._tracing.record(
                f"{record.method} {record.route}",
                headers=headers,
                seconds=seconds,
                timings=record.timings,
                attributes=_attributes(record),
                failed=record.status >= 500,
            )
        if self._format is not None and logger.isEnabledFor(logging.INFO):
            self._lines.append(self._format(record, seconds))
            at_end_of_turn(self._write_lines)

    def _write_lines(self) -> None:
        lines, self._lines = self._lines, []
        for handler in _handlers(logger):
            _emit(handler, lines)


# Cached because prometheus_client takes a lock for each lookup of a label
_in_progress = functools.cache(metrics.REQUESTS_IN_PROGRESS.labels)
_answers = functools.cache(metrics.REQUESTS.labels)
_key_answers = functools.cache(metrics.KEY_REQUESTS.labels)
_key_tokens = functools.cache(metrics.KEY_TOKENS.labels)
_request_seconds = functools.cache(metrics.REQUEST_SECONDS.labels)
_stage_seconds = functools.cache(metrics.STAGE_SECONDS.labels)


def _emit(handler: logging.Handler, lines: Sequence[str]) -> None:
    """Pass lines to a handler as one record, each formatted like a message of its own.

    One record for each line would double the cost of the log, because each record flushes the stream.
    """
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, _MESSAGE, (), None)
    if record.levelno < handler.level or not handler.filter(record):
        return
    before, _, after = handler.format(record).partition(_MESSAGE) if len(lines) > 1 else ("", "", "")
    record.msg = f"{after}\n{before}".join(lines)
    handler.handle(record)


def _handlers(of: logging.Logger) -> Iterator[logging.Handler]:
    """The handlers of a logger and its parents."""
    current: logging.Logger | None = of
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _write_bare_lines() -> None:
    """Write JSON lines without a prefix; they contain the time."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers, logger.propagate = [handler], False


def server_timing(timings: Timings, total_s: float) -> str:
    """The stages of a request in milliseconds, as the value of the header Server-Timing."""
    stages = {name: value for name, value in timings.stages().items() if value} | {"total": total_s}
    return ", ".join(f"{name};dur={value * 1000:.2f}" for name, value in stages.items())


def _fields(record: RequestRecord, seconds: float) -> dict[str, object]:
    """The fields of a log line. They never include texts, vectors or keys."""
    known: dict[str, object] = {
        "request_id": record.request_id,
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "total_ms": round(seconds * 1000, 2),
    }
    if record.key:
        known["key"] = record.key
    if record.model:
        known["model"] = record.model
    if record.texts:
        known |= {"texts": record.texts, "tokens": record.tokens, "truncated": record.truncated}
        known |= {f"{name}_ms": round(value * 1000, 2) for name, value in record.timings.stages().items()}
    if record.error:
        known["error"] = record.error
    return known


def _attributes(record: RequestRecord) -> dict[str, str | int]:
    """Attributes of the span, with OpenTelemetry's names if they exist."""
    known: dict[str, str | int] = {
        "http.request.method": record.method,
        "http.route": record.route,
        "http.response.status_code": record.status,
        "request.id": record.request_id,
    }
    if record.key:
        known["api.key.name"] = record.key
    if record.model:
        known["gen_ai.request.model"] = record.model
    if record.texts:
        known |= {"texts": record.texts, "gen_ai.usage.input_tokens": record.tokens}
    if record.error:
        known["error.type"] = record.error
    return known


def _json_line(record: RequestRecord, seconds: float) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return orjson.dumps({"time": now, **_fields(record, seconds)}).decode()


def _text_line(record: RequestRecord, seconds: float) -> str:
    return " ".join([f"{name}={value}" for name, value in _fields(record, seconds).items()])
