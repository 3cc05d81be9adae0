"""Pages of other sites: what a browser sends on their behalf without asking this service first.

A POST whose body calls itself text/plain is such a request. Its page cannot read the answer, but what the request
starts has started. Programs send neither of the headers that mark a page's request.
"""

from __future__ import annotations

import contextvars
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_may_import: contextvars.ContextVar[bool] = contextvars.ContextVar("may_import", default=True)


def same_site(headers: Mapping[str, str]) -> bool:
    """Whether no page of another origin sent this.

    Browsers send Sec-Fetch-Site to https and to localhost; elsewhere Origin has to name the host that was asked.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def note_origin(headers: Mapping[str, str], cors_origins: Collection[str]) -> None:
    """Note for the rest of this request whether it may start an import: not for a page that CORS_ORIGINS leaves out."""
    origin = headers.get("origin")
    named = origin is not None and ("*" in cors_origins or origin in cors_origins)
    _may_import.set(named or same_site(headers))


def may_import() -> bool:
    """Whether the current request may start an import."""
    return _may_import.get()
