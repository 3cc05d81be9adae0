"""A request that keeps the guarded server at work, so that it answers 429 to others."""

import http.client
import json
from time import monotonic, sleep  # by name: tests put another sleep in the module
from typing import Self
from urllib.parse import urlsplit

import httpx

from tests.clients.samples import API_KEY, TOO_LONG

_PASSAGES = 200
_ATTEMPTS = 6
_PATIENCE_S = 10
_HEADERS = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}


class Crowd:
    """Many passages in one request: others are refused from the start of the block to its end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def __enter__(self) -> Self:
        body = json.dumps({"input": [f"{number} {TOO_LONG}" for number in range(_PASSAGES)]})
        for _ in range(_ATTEMPTS):
            self._connection.request("POST", "/v1/embeddings", body, _HEADERS)
            if self._seen(429):
                return self
            self._connection.close()  # it met one of our own probes in the queue, and was refused itself
        raise TimeoutError(f"{self._url} did not become crowded in {_ATTEMPTS} attempts")

    def __exit__(self, *error: object) -> None:
        self._connection.close()  # the service drops the work of callers that leave
        assert self._seen(200), f"{self._url} is still crowded"

    def _seen(self, status: int) -> bool:
        """Whether a stranger gets this status before long."""
        deadline = monotonic() + _PATIENCE_S
        while httpx.post(f"{self._url}/v1/embeddings", json={"input": "a"}, headers=_HEADERS).status_code != status:
            if monotonic() > deadline:
                return False
            sleep(0.1)
        return True
