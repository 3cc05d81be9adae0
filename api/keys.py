"""API keys: who may ask. Without keys in the settings everybody may."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import error_response
from api.playground import FILES, PAGE
from errors import AuthenticationError

OPEN_PATHS = frozenset({"/health", "/healthz", "/livez", "/readyz"})
"""Probes have no key."""


class ApiKeyMiddleware:
    """Answers 401, before the body is read, to a request that shows none of the keys."""

    def __init__(self, app: ASGIApp, *, keys: Iterable[str], metrics_open: bool, playground: bool = False) -> None:
        self.app = app
        # Digests have one length, so that comparing them tells nothing about a key's
        self._digests = [_digest(key) for key in keys]
        self._open = OPEN_PATHS | ({"/metrics"} if metrics_open else set()) | ({PAGE} if playground else set())
        self._open_below = (FILES,) if playground else ()  # the page asks for a key by itself

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open or scope["path"].startswith(self._open_below):
            await self.app(scope, receive, send)
            return
        shown = _shown(Headers(scope=scope))
        if shown is not None and self._known(shown):
            await self.app(scope, receive, send)
            return
        problem = "Incorrect API key provided." if shown else "This service wants an API key."
        error = AuthenticationError(f"{problem} Send one as Authorization: Bearer KEY, or as x-api-key: KEY.")
        await error_response(error, {"WWW-Authenticate": "Bearer"})(scope, receive, send)

    def _known(self, key: str) -> bool:
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0  # all of them, whichever fits


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _shown(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")
