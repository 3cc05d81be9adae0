"""The bentoml.Service subclass: BentoML starts and stops the service and packs it; api/app.py answers requests.

None of BentoML's own handling of requests is used: its TimeoutMiddleware keeps every finished request in memory until
its timer ends (tests/integration/test_timeout_middleware.py shows that it still does), its metrics have a label
without bound, and its errors have several shapes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from _bentoml_impl.server import app as app_module
from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk.io_models import IORootModel
from bentoml import Service
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

import metrics_files
from api.app import App
from api.openapi import build_document
from api.responses import json_response
from api.routes import build_routes
from api.routing import Request, Route, Routes
from settings import Settings, load_settings

T = TypeVar("T")

_TAG_MANAGER = re.compile(r"<!-- Google Tag Manager.*?<!-- End Google Tag Manager[^>]*-->", re.DOTALL)


class JSONAnswer(IORootModel[dict[str, Any]]):
    """What BentoML's own clients and schema expect of our APIs: a JSON object."""


class Bento(Service[T]):
    """A service whose requests are answered by `app`."""

    app: App

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The ASGI app of one worker."""
        self.inject_config()
        factory = AppFactory(self, is_main=is_main)
        self.app = App(load_settings(), lifespan=factory())
        self.app.connections.install()
        return self.app


class AppFactory(ServiceAppFactory):
    """BentoML's app, which starts and stops the service, and serves the files of its documentation page."""

    async def create_instance(self, app: Starlette) -> None:
        """Start the service, and answer requests with it from then on."""
        await super().create_instance(app)
        instance, settings = self._service_instance, load_settings()
        routes = build_routes(instance.endpoints, instance.directory, settings)
        self.service.app.routes = Routes([*routes, *_routes_of_bentoml(app, settings)])


def _routes_of_bentoml(app: Starlette, settings: Settings) -> list[Route]:
    """What every BentoML service has: documentation, metrics, and the schema that its clients read."""

    async def bentoml(_: Request) -> ASGIApp:
        return app

    async def index(_: Request) -> Response:
        """BentoML's page without the tag manager that would report each reader to Google."""
        page = (Path(app_module.__file__).parent / "main-openapi.html").read_text(encoding="utf-8")
        return HTMLResponse(_TAG_MANAGER.sub("", page))

    async def document(_: Request) -> Response:
        return json_response(build_document(settings))

    async def metrics(_: Request) -> Response:
        return Response(await anyio.to_thread.run_sync(metrics_files.gather), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("GET", "/", index),
        Route("GET", "/docs.json", document),
        Route("GET", "/metrics", metrics, open=settings.metrics_open, quiet=True),
        Route("GET", "/schema.json", bentoml),
        Route("GET", "/static_content/{file}", bentoml),
    ]
