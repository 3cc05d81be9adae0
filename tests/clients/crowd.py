"""A request that fills the queue of the guarded server, so that other requests get 429."""

import http.client
import json
from time import monotonic, sleep  # by name, because tests replace time.sleep
from typing import Self
from urllib.parse import urlsplit

import httpx

from tests.clients.samples import API_KEY, TOO_LONG

_PASSAGES = 200
_ATTEMPTS = 6
_PATIENCE_S = 10
_HEADERS = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}


class Crowd:
    """One request with many passages: other requests are rejected during the block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def __enter__(self) -> Self:
        body = json.dumps({"input": [f"{number} {TOO_LONG}" for number in range(_PASSAGES)]})
        for _ in range(_ATTEMPTS):
            self._connection.request("POST", "/v1/embeddings", body, _HEADERS)
            if self._seen(429):
                return self
            self._connection.close()  # rejected, because one of our probes was in the queue
        raise TimeoutError(f"{self._url} did not become crowded in {_ATTEMPTS} attempts")

    def __exit__(self, *error: object) -> None:
        self._connection.close()  # the service cancels the work of disconnected clients
        assert self._seen(200), f"{self._url} is still crowded"

    def _seen(self, status: int) -> bool:
        """Whether another request gets this status within some seconds."""
        deadline = monotonic() + _PATIENCE_S
        while httpx.post(f"{self._url}/v1/embeddings", json={"input": "a"}, headers=_HEADERS).status_code != status:
            if monotonic() > deadline:
                return False
            sleep(0.1)
        return True
