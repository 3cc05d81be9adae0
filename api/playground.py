"""GET /playground: a page for trying the service out, made of files of its own and nothing else."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api.routing import Request, Route

FOLDER = Path(__file__).parent.parent / "playground"
PAGE = "/playground"
_SUFFIXES = {".js", ".css", ".svg"}
"""What else may lie in the folder is not for the world."""

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
    "trusted-types": "default",  # playground/app.js makes it: workers from the page's own files alone
}
_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept, but asked for again: a 304 where the ETag is the same
}


def playground_routes() -> list[Route]:
    """The page and its files. StaticFiles keeps to the folder, and answers HEAD, ETag and If-None-Match."""
    files = StaticFiles(directory=FOLDER)

    async def page(request: Request) -> Response:
        return await found("index.html", request)

    async def file(request: Request) -> Response:
        name = request.params["file"]
        if Path(name).suffix not in _SUFFIXES:
            raise HTTPException(404)
        return await found(name, request)

    async def found(name: str, request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers.update(_HEADERS)
        return response

    return [
        Route("GET", PAGE, page, open=True, quiet=True),  # the page asks for a key by itself
        Route("GET", f"{PAGE}/{{file}}", file, open=True, quiet=True),
    ]


def playground_url(host: str, port: int) -> str:
    """Where a browser on this machine finds the page."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PAGE}"
