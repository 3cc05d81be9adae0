"""Spans arrive at a collector: one for a request, below the caller's, and one for each of its stages."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.responses import Response
from starlette.testclient import TestClient

from api.access_log import record_result
from api.routing import Request, Route
from runners.contracts import Timings
from tests.unit.api.apps import app_of
from tests.unit.fakes import Quiet, listening

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(Quiet, BaseHTTPRequestHandler):
    """An OTLP collector on a socket, which keeps what it is sent."""

    received: ClassVar[list[tuple[str, ExportTraceServiceRequest]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    @classmethod
    def spans(cls) -> dict[str, Span]:
        """Every span by its name."""
        assert {path for path, _ in cls.received} == {"/v1/traces"}
        scopes = [scope for _, sent in cls.received for part in sent.resource_spans for scope in part.scope_spans]
        return {span.name: span for scope in scopes for span in scope.spans}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Collector]]:
    """A collector where the SDK's own variable points to."""
    Collector.received.clear()
    with listening(Collector) as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "search-of-shop-7")
        yield Collector


async def work(request: Request) -> Response:
    record_result(model="tiny", texts=2, tokens=9, truncated=0, timings=Timings(0.001, 0.002, 0.004))
    return Response("a user's own words")


async def fail(request: Request) -> Response:
    raise RuntimeError("a user's own words")


def ask(path: str, **headers: str) -> None:
    """One request to a small app whose spans are sent before this returns."""
    routes = [Route("GET", "/work", work), Route("GET", "/fail", fail), Route("GET", "/livez", work, quiet=True)]
    app = app_of(routes, REQUEST_LOG="off", TRACING="true")
    TestClient(app).get(path, headers=headers)
    assert app._log._tracing is not None
    app._log._tracing._provider.shutdown()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_request_and_its_stages(collector: type[Collector]) -> None:
    ask("/work", traceparent=f"00-{TRACE}-{PARENT}-01", **{"X-Request-Id": "mine"})
    spans = collector.spans()
    assert spans.keys() == {"GET /work", "tokenize", "queue", "compute"}
    request = spans["GET /work"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(request) == {
        "http.request.method": "GET",
        "http.route": "/work",
        "http.response.status_code": 200,
        "request.id": "mine",
        "gen_ai.request.model": "tiny",
        "texts": 2,
        "gen_ai.usage.input_tokens": 9,
    }
    for name, seconds in (("tokenize", 0.001), ("queue", 0.002), ("compute", 0.004)):
        assert spans[name].parent_span_id == request.span_id
        assert spans[name].end_time_unix_nano - spans[name].start_time_unix_nano == pytest.approx(seconds * 1e9, abs=2)
    assert spans["tokenize"].end_time_unix_nano == spans["queue"].start_time_unix_nano


def test_a_failure_is_one_and_says_nothing_of_the_user(collector: type[Collector]) -> None:
    ask("/fail")
    (span,) = collector.spans().values()
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert attributes(span)["error.type"] == "internal_error"
    assert not any(b"own words" in sent.SerializeToString() for _, sent in collector.received)


def test_the_service_has_the_name_that_it_was_given(collector: type[Collector]) -> None:
    ask("/work")
    resource = collector.received[0][1].resource_spans[0].resource
    assert "search-of-shop-7" in {each.value.string_value for each in resource.attributes if each.key == "service.name"}


def test_probes_make_no_spans(collector: type[Collector]) -> None:
    ask("/livez")
    assert collector.received == []
