"""API keys. Without keys in the settings, the service is open to anyone who can reach it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from api.key_rates import KeyRate
from errors import AuthenticationError

CHALLENGE = {"WWW-Authenticate": "Bearer"}
"""Header of a 401 response, which RFC 9110 requires."""
_KEY_HEADERS = ("x-api-key", "api-key")
"""Headers whose value is a key. Azure's and Pinecone's clients send the second one."""
_NAMED = re.compile(r"(?P<name>[A-Za-z][\w-]{0,39}):(?P<key>.+)", re.ASCII)


@dataclass(frozen=True)
class ApiKey:
    """A key of the settings. Its name, which may be empty, is written to logs and metrics; the key never is."""

    name: str
    rate: KeyRate | None


class ApiKeys:
    """The API keys; each request must present one of them."""

    def __init__(self, keys: Iterable[str], tokens_per_minute: int = 0) -> None:
        """`keys` may have names: `name:key`. `tokens_per_minute` is the limit of each key; 0: none."""
        # Digests have equal lengths, so comparing them reveals nothing about the length of a key
        self._keys: list[tuple[bytes, ApiKey]] = []
        for given in keys:
            named = _NAMED.fullmatch(given)
            rate = KeyRate(tokens_per_minute) if tokens_per_minute else None
            known = ApiKey(named["name"] if named else "", rate)
            # Keys with a colon are older than names: the whole text is accepted, too
            self._keys += [(_digest(text), known) for text in (given, *([named["key"]] if named else []))]

    def check(self, headers: Mapping[str, str]) -> ApiKey:
        """The key that a header has; AuthenticationError without one. Other keys beside it are ignored."""
        presented = list(_presented(headers))
        found = [known for text in presented for known in self._matches(text)]  # compares all of them, in constant time
        if found:
            return found[0]
        problem = "Incorrect API key provided." if presented else "An API key is required."
        raise AuthenticationError(f"{problem} Send it as Authorization: Bearer KEY, x-api-key: KEY or api-key: KEY.")

    def _matches(self, text: str) -> list[ApiKey]:
        digest = _digest(text)
        return [key for known, key in self._keys if hmac.compare_digest(digest, known)]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _presented(headers: Mapping[str, str]) -> Iterator[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        yield token.strip()
    for name in _KEY_HEADERS:
        if key := headers.get(name):
            yield key
