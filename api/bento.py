"""The bentoml.Service subclass: one error shape for every status, our own deadline and OpenAPI document.

The only place that reshapes what BentoML answers by itself. It also leaves out BentoML's TimeoutMiddleware, which
keeps every finished request in memory until its timer ends (tests/integration/test_timeout_middleware.py shows that
it still does).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
from _bentoml_impl.server import app as app_module
from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk.io_models import IORootModel
from bentoml import Service
from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.calls import answer
from api.errors import CatchAllMiddleware, answer_exception
from api.keys import ApiKeyMiddleware
from api.observation import ROUTE, ObservationMiddleware
from api.openapi import build_document
from api.responses import json_response
from api.schemas import parse_beside
from settings import load_settings

if TYPE_CHECKING:
    from api.tracing import Tracing

T = TypeVar("T")

_PREFLIGHT_AGE_S = 600

_TAG_MANAGER = re.compile(r"<!-- Google Tag Manager.*?<!-- End Google Tag Manager[^>]*-->", re.DOTALL)


class JSONAnswer(IORootModel[dict[str, Any]]):
    """What BentoML's own clients and schema expect of our APIs: a JSON object."""


class Bento(Service[T]):
    """A service whose every answer has our shape."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The ASGI app of one worker."""
        self.inject_config()
        return AppFactory(self, is_main=is_main)()


class AppFactory(ServiceAppFactory):
    """Builds BentoML's app with our own handling of requests and failures."""

    def __init__(self, service: Bento[Any], *, is_main: bool) -> None:
        super().__init__(service, is_main=is_main)
        self._limits = load_settings()

    def __call__(self) -> Starlette:
        app: Starlette = super().__call__()
        app.add_exception_handler(HTTPException, answer_exception)
        return app

    @property
    def middlewares(self) -> list[Middleware]:
        """BentoML's, without the one that leaks and the one for traces, which raises where a Host header is no text
        (api/tracing.py makes ours), and with metric labels that cannot grow without bound."""
        dropped = (TimeoutMiddleware, OpenTelemetryMiddleware)
        kept = [middleware for middleware in super().middlewares if middleware.cls not in dropped]
        replaced = [
            Middleware(BoundedMetricsMiddleware, **middleware.kwargs)  # type: ignore[arg-type]  # its base is untyped
            if middleware.cls is RunnerTrafficMetricsMiddleware
            else middleware
            for middleware in kept
        ]
        observation = Middleware(ObservationMiddleware, log=self._limits.request_log, tracing=self._tracing())
        return [observation, *self._cors(), *replaced, *self._keys(), Middleware(CatchAllMiddleware)]

    def _tracing(self) -> Tracing | None:
        if not self._limits.tracing:
            return None
        from api.tracing import Tracing

        return Tracing()

    def _cors(self) -> list[Middleware]:
        """Around the rest, so that a page can read refusals, too, and a preflight needs no key."""
        if not self._limits.cors_origins:
            return []
        options: dict[str, Any] = {
            "allow_origins": self._limits.cors_origins,
            "allow_methods": ["GET", "POST"],
            "allow_headers": ["*"],  # answered with those that the browser asks for, Authorization included
            "expose_headers": ["Retry-After", "Server-Timing", "X-Request-Id", "X-Warnings"],
            "max_age": _PREFLIGHT_AGE_S,
        }
        return [Middleware(CORSMiddleware, **options)]

    def _keys(self) -> list[Middleware]:
        """Within the metrics, so that refusals are counted."""
        if not self._limits.keys:
            return []
        limits = self._limits
        options: dict[str, Any] = {
            "keys": limits.keys,
            "metrics_open": limits.metrics_open,
            "playground": limits.playground,
        }
        return [Middleware(ApiKeyMiddleware, **options)]

    async def index_page(self, _: Request) -> Response:
        """GET /: BentoML's documentation page without the tag manager that would report each reader to Google."""
        page = (Path(app_module.__file__).parent / "main-openapi.html").read_text(encoding="utf-8")
        return HTMLResponse(_TAG_MANAGER.sub("", page))

    async def metrics(self, _: Request) -> Response:
        """GET /metrics: as BentoML answers it, but gathered once: it gathers twice and throws the first away."""
        return Response(await anyio.to_thread.run_sync(_gather_metrics), media_type=CONTENT_TYPE_LATEST)

    async def openapi_spec_view(self, _: Request) -> Response:
        """GET /docs.json: every route, also those that BentoML does not know of."""
        return json_response(build_document(self._limits))

    async def api_endpoint_wrapper(self, name: str, request: Request) -> Response:
        """A request to one of the two APIs."""
        method = self.service.apis[name]

        async def handle(body: bytes) -> Response:
            # As an attribute of the instance BentoML would make it anew, with a signature, for each request
            parsed = await parse_beside(method.input_spec, body, self._limits)
            response: Response = await method.func(self._service_instance, parsed)
            return response

        return await answer(request, handle, self._limits)


def _gather_metrics() -> bytes:
    """Every worker's metrics, summed."""
    registry = CollectorRegistry()
    _WrittenMetrics(registry)  # type: ignore[no-untyped-call]  # prometheus_client
    return generate_latest(registry)


class _WrittenMetrics(MultiProcessCollector):
    """What the workers' files say, without those that have no content yet, on which prometheus_client's own collector
    fails: a worker makes a file for its first metric of a kind, and gives it its size a moment later."""

    def collect(self) -> Iterable[Metric]:
        written = []
        for path in Path(self._path).glob("*.db"):
            with contextlib.suppress(FileNotFoundError):  # a worker that ends takes files away
                if path.stat().st_size:
                    written.append(str(path))
        merged: Iterable[Metric] = self.merge(written)  # type: ignore[no-untyped-call]  # prometheus_client
        return merged


class BoundedMetricsMiddleware(RunnerTrafficMetricsMiddleware):
    """BentoML's request metrics with the route's path as label, and one label for all unknown paths."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        super().__init__(_with_real_path(app), **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, known = scope["path"], scope[ROUTE]
        if known != path:
            scope = {**scope, "path": known, "service.path": path}
        await super().__call__(scope, receive, send)


def _with_real_path(app: ASGIApp) -> ASGIApp:
    async def restore(scope: Scope, receive: Receive, send: Send) -> None:
        if "service.path" in scope:
            scope = {**scope, "path": scope["service.path"]}
        await app(scope, receive, send)

    return restore
