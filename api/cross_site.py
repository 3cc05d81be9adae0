"""Requests that a browser sends for pages of other sites, without a CORS preflight.

A POST with the content type text/plain is such a request. The page cannot read the response, but the request has been
executed. Programs other than browsers send neither Sec-Fetch-Site nor Origin.
"""

from __future__ import annotations

import contextvars
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_may_import: contextvars.ContextVar[bool] = contextvars.ContextVar("may_import", default=True)


def same_site(headers: Mapping[str, str]) -> bool:
    """Whether the request comes from a page of the same origin, or not from a page.

    Browsers send Sec-Fetch-Site to https and to localhost; elsewhere Origin must match the header Host.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def note_origin(headers: Mapping[str, str], cors_origins: Collection[str]) -> None:
    """Record whether this request may start an import. A page of another site may if CORS_ORIGINS lists it."""
    origin = headers.get("origin")
    named = origin is not None and ("*" in cors_origins or origin in cors_origins)
    _may_import.set(named or same_site(headers))


def may_import() -> bool:
    """Whether the current request may start an import."""
    return _may_import.get()
