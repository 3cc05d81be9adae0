"""Which route a request belongs to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import ASGIApp, Scope

UNKNOWN_PATH = "/unknown"
"""Stands for every path that is no route: a scanner must not grow a metric's labels, nor write into the log."""

_SLASHES = re.compile("/{2,}")


@dataclass
class Request:
    """What a handler may read of a request."""

    scope: Scope
    headers: Mapping[str, str]
    """By their names in lower case; of repeated ones the first."""
    params: Mapping[str, str]
    """Placeholder in the route's path -> what the request has there; it may hold slashes."""
    body: bytes = b""


Handler = Callable[[Request], Awaitable[ASGIApp]]
"""Answers a request with a Starlette Response, or with any other ASGI app."""


@dataclass(frozen=True)
class Route:
    """A path and method that the service answers."""

    method: Literal["GET", "POST"]
    path: str
    """May have one placeholder, as in /v1/models/{name}. It is also the route's name in metrics and logs."""
    handle: Handler
    open: bool = False
    """Whether it needs no API key."""
    quiet: bool = False
    """Whether only its failures are logged, as machines or the playground request it every few seconds."""


@dataclass(frozen=True)
class Match:
    """The routes of one path."""

    path: str
    methods: Mapping[str, Route]
    params: Mapping[str, str] = field(default_factory=dict)

    def allowed(self) -> str:
        """The methods, as the header Allow lists them."""
        return ", ".join(self.methods)


_UNKNOWN = Match(UNKNOWN_PATH, {})


class Routes:
    """A table of routes; GET routes answer HEAD, too."""

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
        """The routes of a path; slashes that are doubled or at the end make no difference."""
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
