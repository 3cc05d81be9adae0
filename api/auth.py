"""API keys. Without keys in the settings, the service is open to anyone who can reach it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping

from errors import AuthenticationError

CHALLENGE = {"WWW-Authenticate": "Bearer"}
"""Header of a 401 response, which RFC 9110 requires."""


class ApiKeys:
    """The API keys; each request must present one of them."""

    def __init__(self, keys: Iterable[str]) -> None:
        # Digests have equal lengths, so comparing them reveals nothing about the length of a key
        self._digests = [_digest(key) for key in keys]

    def check(self, headers: Mapping[str, str]) -> None:
        """AuthenticationError unless a header has one of the keys. Other keys beside it are ignored."""
        presented = list(_presented(headers))
        if sum(map(self._known, presented)) > 0:  # checks all of them, in constant time
            return
        problem = "Incorrect API key provided." if presented else "An API key is required."
        raise AuthenticationError(f"{problem} Send it as Authorization: Bearer KEY, or as x-api-key: KEY.")

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
