"""Find the route of a request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import ASGIApp, Scope

UNKNOWN_PATH = "/unknown"
"""Label of all paths without a route: a scanner must not add labels to metrics or text to the log."""

_SLASHES = re.compile("/{2,}")


@dataclass
class Request:
    """A request, as its handler sees it."""

    scope: Scope
    headers: Mapping[str, str]
    """By name in lower case; the first of repeated headers."""
    params: Mapping[str, str]
    """Placeholder in the path of the route -> its value, which may contain slashes."""
    body: bytes = b""
    parts: AsyncIterator[bytes] | None = None
    """The body in parts, as they arrive, if the route is `streamed`."""


Handler = Callable[[Request], Awaitable[ASGIApp]]
"""Answers a request with a Starlette Response, or with any other ASGI app."""


@dataclass(frozen=True)
class Route:
    """A path and method that the service answers; api/routes.py has all of them."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """May have one placeholder, as in /v1/models/{name}. It is also the label in metrics and logs."""
    handle: Handler
    open: bool = False
    """Whether it needs no API key."""
    quiet: bool = False
    """Whether only failures are logged, because machines or the playground send it every few seconds."""
    streamed: bool = False
    """Whether the handler reads the body from `Request.parts`, because it may not fit in memory."""


@dataclass(frozen=True)
class Match:
    """The routes of one path."""

    path: str
    methods: Mapping[str, Route]
    params: Mapping[str, str] = field(default_factory=dict)

    def allowed(self) -> str:
        """The methods, as in the header Allow."""
        return ", ".join(self.methods)


_UNKNOWN = Match(UNKNOWN_PATH, {})


class Routes:
    """Routes by path. GET routes answer HEAD too."""

    def __init__(self, routes: Iterable[Route]) -> None:
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = by_path.setdefault(route.path, {})
            methods[route.method] = route
            if route.method == "GET":
                methods["HEAD"] = route
        self._fixed = {path: Match(path, methods) for path, methods in by_path.items() if "{" not in path}
        self._patterns = [(_pattern(path), path, methods) for path, methods in by_path.items() if "{" in path]

    def find(self, path: str) -> Match:
        """The routes of a path. Repeated and trailing slashes are ignored."""
        found = self._fixed.get(path)
        if found is not None:
            return found
        path = _SLASHES.sub("/", path).rstrip("/") or "/"
        return self._fixed.get(path) or self._with_placeholder(path)

    def _with_placeholder(self, path: str) -> Match:
        for pattern, name, methods in self._patterns:
            if match := pattern.fullmatch(path):
                return Match(name, methods, match.groupdict())
        return _UNKNOWN


def _pattern(path: str) -> re.Pattern[str]:
    before, placeholder, after = re.split(r"{(\w+)}", path)
    return re.compile(f"{re.escape(before)}(?P<{placeholder}>.+){re.escape(after)}", re.DOTALL)
