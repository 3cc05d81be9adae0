"""GET /playground: a page for trying the service in a browser. It loads nothing from other hosts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api.context import Context
from api.endpoint import Endpoint
from api.routing import Request

FOLDER = Path(__file__).parent.parent / "playground"
PATH = "/playground"
_SUFFIXES = {".js", ".css", ".svg"}
"""Other files in the folder are not served."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "worker-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "default",  # created by playground/app.js: only the page's own files may be workers
}
_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # cached, but revalidated: 304 if the ETag is unchanged
}


_files = StaticFiles(directory=FOLDER)
"""Serves only files of the folder, and answers HEAD, ETag and If-None-Match."""


def endpoint(path: str, summary: str, handle: Callable[[Context, Request], Awaitable[Response]]) -> Endpoint:
    """A route of the playground. It is open because the page itself asks for a key."""
    return Endpoint("GET", path, summary, handle, setting="playground", open=True, quiet=True, in_openapi=False)


async def page(_: Context, request: Request) -> Response:
    """GET /playground."""
    return await _serve("index.html", request)


async def file(_: Context, request: Request) -> Response:
    """GET /playground/{file}."""
    name = request.params["file"]
    if Path(name).suffix not in _SUFFIXES:
        raise HTTPException(404)
    return await _serve(name, request)


async def _serve(name: str, request: Request) -> Response:
    response = await _files.get_response(name, request.scope)
    response.headers.update(_HEADERS)
    return response


def playground_url(host: str, port: int) -> str:
    """URL of the page for a browser on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"
