"""API keys: without keys in the settings, the service is open to anyone who can reach it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping

from errors import AuthenticationError

CHALLENGE = {"WWW-Authenticate": "Bearer"}
"""Header of a refusal, as RFC 9110 requires."""


class ApiKeys:
    """The keys of which every request must present one."""

    def __init__(self, keys: Iterable[str]) -> None:
        # Digests have one length, so that comparing them tells nothing about a key's
        self._digests = [_digest(key) for key in keys]

    def check(self, headers: Mapping[str, str]) -> None:
        """AuthenticationError unless a header holds one of the keys. A wrong key beside a right one does not matter."""
        presented = list(_presented(headers))
        if sum(map(self._known, presented)) > 0:  # looks at all of them, whichever fits
            return
        problem = "Incorrect API key provided." if presented else "An API key is required."
        raise AuthenticationError(f"{problem} Send one as Authorization: Bearer KEY, or as x-api-key: KEY.")

    def _known(self, key: str) -> bool:
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _presented(headers: Mapping[str, str]) -> Iterator[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        yield token.strip()
    if key := headers.get("x-api-key"):
        yield key
