"""OpenTelemetry: a span for each request and for each of its stages, sent with OTLP over HTTP.

OpenTelemetry's SDK reads its own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, ...).
BentoML's tracing middleware is disabled: it causes more than half of a request's overhead and records no stages.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from runners.contracts import Timings

_NAME = "rerank-embedding"


class Tracing:
    """Records requests as spans."""

    def __init__(self) -> None:
        named = OTELResourceDetector().detect()
        self._provider = TracerProvider(resource=Resource({SERVICE_NAME: _NAME}).merge(named))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_NAME)

    def record(
        self,
        name: str,
        *,
        headers: Mapping[str, str],
        seconds: float,
        timings: Timings,
        attributes: Mapping[str, str | int],
        failed: bool,
    ) -> None:
        """Record a request that has just ended after `seconds`. Its parent is the `traceparent` in `headers`.

        Each stage is one span with its total duration, although the stages of a large request alternate.
        """
        end = time.time_ns()
        start = end - int(seconds * 1e9)
        span = self._tracer.start_span(
            name,
            context=propagate.extract(headers),
            kind=trace.SpanKind.SERVER,
            attributes=dict(attributes),
            start_time=start,
        )
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        inside = trace.set_span_in_context(span)
        for stage, duration in timings.stages().items():
            if duration:
                stop = start + int(duration * 1e9)
                self._tracer.start_span(stage, context=inside, start_time=start).end(stop)
                start = stop
        span.end(end)
