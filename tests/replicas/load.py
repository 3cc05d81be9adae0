"""Clients behind which nothing gets lost unnoticed: each request has an id, and each response is compared with it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.load import Clients, ending

CLIENTS = 3
PAUSE_S = 0.2
"""Between two requests of a client, so that the proxies and the replicas get processor time too."""
MAX_TEXTS = 8
LARGE_SHARE = 0.02
LARGE_TEXT = "many words of a long text " * 16_000
"""0.4 MB: larger than HAProxy's buffer."""
WAITS = 100
"""How often a request waits for Retry-After after 429, as SDKs do, before it counts as lost."""


class Load:
    """Requests of some clients to one socket: at least `least`, and until `stop`."""

    def __init__(self, socket: Path, least: int, *, large: bool) -> None:
        self.ended: Counter[str] = Counter()
        """Requests by their `ending`, or `wrong`; of large ones, `large 200`."""
        self.sent = 0
        self.told_to_wait = 0
        """Responses with 429, after which the client sent the request again."""
        self._socket = socket
        self._least = least
        self._large = large
        self._lock = threading.Lock()
        self._clients = Clients(CLIENTS, self._work)

    def reached(self, count: int) -> bool:
        """Whether this many requests ended."""
        return self.ended.total() >= count

    def stop(self) -> None:
        """Send what is missing, and wait for all responses."""
        self._clients.stop()

    def _work(self, seed: int, stopping: threading.Event) -> None:
        source = random.Random(seed)
        transport = httpx.HTTPTransport(verify=False, uds=str(self._socket))
        with httpx.Client(transport=transport, base_url="http://service", timeout=600) as client:
            while self._continues(stopping):
                self._request(client, source, seed)
                time.sleep(PAUSE_S)

    def _continues(self, stopping: threading.Event) -> bool:
        with self._lock:
            if stopping.is_set() and self.sent >= self._least:
                return False
            self.sent += 1
            return True

    def _request(self, client: httpx.Client, source: random.Random, seed: int) -> None:
        name = f"{seed}-{source.getrandbits(64):x}"
        large = self._large and source.random() < LARGE_SHARE
        texts = [f"text {place} of {name}" for place in range(source.randint(1, MAX_TEXTS))]
        body = {"input": [LARGE_TEXT, *texts] if large else texts}
        outcome = self._outcome(client, name, body)
        with self._lock:
            self.ended[f"large {outcome}" if large else outcome] += 1

    def _outcome(self, client: httpx.Client, name: str, body: dict[str, list[str]]) -> str:
        for _ in range(WAITS):
            outcome, answer = ending(lambda: client.post("/v1/embeddings", json=body, headers={"X-Request-Id": name}))
            if answer is None or outcome != "429":
                break
            with self._lock:
                self.told_to_wait += 1
            time.sleep(int(answer.headers["Retry-After"]))
        if answer is None or outcome != "200":
            return outcome
        right = answer.headers["X-Request-Id"] == name and len(answer.json()["data"]) == len(body["input"])
        return "200" if right else "wrong"
