"""The bentoml.Service subclass: one error shape for every status, our own deadline, our own OpenAPI document.

The only place that reshapes what BentoML answers by itself. It also leaves out BentoML's TimeoutMiddleware, which
keeps every finished request in memory until its timer ends (tests/integration/test_timeout_middleware.py shows that
it still does).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any, TypeVar

from _bentoml_impl.server import app as app_module
from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk.io_models import IORootModel
from bentoml import Service
from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import CatchAllMiddleware, answer_exception, error_response
from api.openapi import build_document
from api.responses import json_response
from api.schemas import parse
from errors import BodyTooLargeError, DeadlineError, RequestIncompleteError
from settings import load_settings

T = TypeVar("T")

UNKNOWN_PATH = "/unknown"
"""Metric label of every path that is no route: a scanner must not grow the label set."""

CLIENT_CLOSED_REQUEST = 499

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
        """BentoML's, without the one that leaks, and with metric labels that cannot grow without bound."""
        kept = [middleware for middleware in super().middlewares if middleware.cls is not TimeoutMiddleware]
        replaced = [
            Middleware(BoundedMetricsMiddleware, **middleware.kwargs)  # type: ignore[arg-type]  # its base is untyped
            if middleware.cls is RunnerTrafficMetricsMiddleware
            else middleware
            for middleware in kept
        ]
        return [*replaced, Middleware(CatchAllMiddleware)]

    async def index_page(self, _: Request) -> Response:
        """GET /: BentoML's documentation page without the tag manager that would report each reader to Google."""
        page = (Path(app_module.__file__).parent / "main-openapi.html").read_text(encoding="utf-8")
        return HTMLResponse(_TAG_MANAGER.sub("", page))

    async def openapi_spec_view(self, _: Request) -> Response:
        """GET /docs.json: every route, also those that BentoML does not know of."""
        return json_response(build_document(self._limits))

    async def api_endpoint_wrapper(self, name: str, request: Request) -> Response:
        """A request to one of the two APIs: an answer, or an error of ours; 504 once the deadline has passed."""
        try:
            response = await self._until_disconnect(name, request)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_CLOSED_REQUEST)  # nobody reads it; the access log does
        except Exception as error:
            response = error_response(error)
        self._add_response_headers(response)
        return response

    async def _until_disconnect(self, name: str, request: Request) -> Response:
        """Run the request; give up once the client has gone, so that nothing is computed for nobody."""
        limit = self._limits.request_timeout_s
        try:
            async with asyncio.timeout(limit):
                body = await read_body(request, self._limits.max_body_bytes)
        except TimeoutError:
            raise RequestIncompleteError(f"The request body did not arrive within {limit:g} s.") from None
        method = self.service.apis[name]
        work = asyncio.ensure_future(getattr(self._service_instance, name).local(parse(method.input_spec, body)))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({work, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                response: Response = work.result()
                return response
            if gone.done():
                raise ClientDisconnect
            raise DeadlineError(
                f"No answer within {limit:g} s (REQUEST_TIMEOUT_S). Send fewer or shorter texts, or try again later."
            )
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
                with contextlib.suppress(BaseException):
                    await asyncio.wait({work})


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body; BodyTooLargeError as soon as more than `limit` bytes are announced or have arrived."""
    message = f"The request body exceeds {limit} bytes (MAX_BODY_BYTES). Send fewer or shorter texts at once."
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLargeError(message)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise BodyTooLargeError(message)
        parts.append(part)
    return b"".join(parts)


async def _disconnected(request: Request) -> None:
    """Return when the client closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class BoundedMetricsMiddleware(RunnerTrafficMetricsMiddleware):
    """BentoML's request metrics with the route's path as label, and one label for all unknown paths."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        super().__init__(_with_real_path(app), **options)
        self._labels: set[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._labels is None:
            self._labels = set(_paths(scope["app"]))
        path = scope["path"]
        if path in self._labels:
            await super().__call__(scope, receive, send)
            return
        label = "/v1/models/{name}" if path.startswith("/v1/models/") else UNKNOWN_PATH
        await super().__call__({**scope, "path": label, "service.path": path}, receive, send)


def _with_real_path(app: ASGIApp) -> ASGIApp:
    async def restore(scope: Scope, receive: Receive, send: Send) -> None:
        if "service.path" in scope:
            scope = {**scope, "path": scope["service.path"]}
        await app(scope, receive, send)

    return restore


def _paths(app: Starlette) -> list[str]:
    paths: list[str] = []
    for route in app.routes:
        if isinstance(route, Route):
            paths.append(route.path)
        elif isinstance(mounted := getattr(route, "app", None), Starlette):
            paths += _paths(mounted)
    return paths
