"""Small apps around the real request path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from api.app import App
from api.routing import Route, Routes
from settings import load_settings
from tests.serving import InProcess


def app_of(routes: Iterable[Route], lifespan: Any = None, **settings: str) -> App:
    """The request path over these routes."""
    app = App(load_settings(settings), lifespan=lifespan or Starlette())
    app.routes = Routes(routes)
    return app


def client_of(routes: Iterable[Route], **settings: str) -> TestClient:
    """A client of the request path over these routes."""
    return TestClient(app_of(routes, **settings), raise_server_exceptions=False)


@contextlib.contextmanager
def served(routes: Iterable[Route], **settings: str) -> Iterator[InProcess]:
    """The same behind a real socket, over our own connections."""
    app = app_of(routes, **settings)
    app.connections.install()
    with InProcess(app) as server:
        yield server
