"""The bentoml.Service subclass: BentoML starts and stops the service and packs it; api/app.py answers requests.

BentoML's own request handling is not used: its TimeoutMiddleware keeps finished requests in memory until their timer
ends (see tests/integration/test_timeout_middleware.py), its metrics have an unbounded label, and its errors have
several formats.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from _bentoml_impl.server import app as app_module
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

_TAG_MANAGER = re.compile(r"<!-- Google Tag Manager.*?<!-- End Google Tag Manager[^>]*-->", re.DOTALL)


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
        context = self._service_instance.context(bentoml_app=app, documentation_page=_documentation_page())
        self.service.app.routes = Routes(bind(context))


def _documentation_page() -> str:
    """BentoML's documentation page without Google Tag Manager."""
    page = (Path(app_module.__file__).parent / "main-openapi.html").read_text(encoding="utf-8")
    return _TAG_MANAGER.sub("", page)
