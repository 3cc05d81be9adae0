"""The bentoml.Service subclass: BentoML starts and stops the service and packs it; api/app.py answers requests.

BentoML's own request handling is not used: its TimeoutMiddleware keeps finished requests in memory until their timer
ends (see tests/integration/test_timeout_middleware.py), its metrics have an unbounded label, and its errors have
several formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_sdk.io_models import IORootModel
from bentoml import Service
from starlette.applications import Starlette
from starlette.types import ASGIApp

from api.app import App
from api.routes import bind
from api.routing import Routes
from settings import load_settings

T = TypeVar("T")

_DOCUMENTATION_PAGE = Path(__file__).parent / "documentation.html"
"""Swagger UI from BentoML's files, without BentoML's page around it and its Google Tag Manager."""


class JSONAnswer(IORootModel[dict[str, Any]]):
    """The response of our APIs in BentoML's schema: a JSON object."""


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
    """BentoML's app. It starts and stops the service, and serves the files of the documentation page."""

    async def create_instance(self, app: Starlette) -> None:
        """Start the service and bind its routes."""
        await super().create_instance(app)
        page = _DOCUMENTATION_PAGE.read_text(encoding="utf-8")
        context = self._service_instance.context(bentoml_app=app, documentation_page=page)
        self.service.app.routes = Routes(bind(context))
