"""Client of the service's /v1/embeddings that retries through restarts and overload."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import orjson

from corpus.columns import Arrays, Output, are_valid, concatenate, read_items, request_fields
from corpus.problems import CorpusError, GaveUpError
from corpus.rows import Row

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the request is sent again."""

_TOO_LARGE = frozenset({413, 504})
"""Statuses after which a batch is split."""

_FIRST_DELAY_S, _LONGEST_DELAY_S, _LONGEST_DISCONNECTED_S = 0.25, 10.0, 2.0
_READ_TIMEOUT_S = 330.0
"""Longer than the default of the service's own deadline, REQUEST_TIMEOUT_S."""

_NOTICE_S = 60.0
"""Minimum time between two identical notices."""

_TRUNCATION = re.compile(r"input\.\d+ was cut ")
LOCAL_URL = "http://localhost"
"""Stands for the URL of a service if this process computes."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def connection(
    url: str,
    key: str | None,
    *,
    read_s: float = _READ_TIMEOUT_S,
    connections: int = 1,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A keep-alive connection to a service, or to a transport in its place."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
        timeout=httpx.Timeout(10, read=read_s),
        limits=httpx.Limits(max_connections=connections + 1),
        trust_env=urlsplit(url).hostname not in _LOOPBACK,  # no proxy for this machine itself
        transport=transport,
    )


@dataclass(frozen=True)
class Answer:
    """The outputs of a batch (columns.py), and what the service reports about it."""

    arrays: Arrays
    model: str
    tokens: int
    truncated: int


class _TooLargeError(Exception):
    """The batch is too large for one request."""


@dataclass
class Client:
    """A keep-alive client of the service. `fields` are part of every request; `notice` shows messages to the user."""

    url: str
    fields: dict[str, Any]
    notice: Callable[[str], None]
    outputs: Sequence[Output] = ("dense",)
    key: str | None = None
    patience_s: float = 600.0
    connections: int = 3
    transport: httpx.AsyncBaseTransport | None = None
    """Takes the place of the network."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _http: httpx.AsyncClient = field(init=False)
    _last_answer: float = field(init=False)
    _notified: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._http = connection(
            self.url,
            self.key,
            read_s=max(1, min(_READ_TIMEOUT_S, self.patience_s)),
            connections=self.connections,
            transport=self.transport,
        )
        self._last_answer = self.clock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def embed(self, rows: Sequence[Row]) -> Answer:
        """Embed rows, retrying as necessary; the vectors are in the same order.

        Raises GaveUpError if no request succeeds for `patience_s`, and CorpusError if the service rejects the rows.
        """
        return await self._embed_halved(rows, self.clock())

    async def _embed_halved(self, rows: Sequence[Row], started: float) -> Answer:
        """The same, splitting batches that are too large; the patience is that of the whole batch."""
        try:
            return await self._embed(rows, started)
        except _TooLargeError:
            middle = len(rows) // 2
            first = await self._embed_halved(rows[:middle], started)
            second = await self._embed_halved(rows[middle:], started)
            return Answer(
                concatenate([first.arrays, second.arrays]),
                first.model,
                first.tokens + second.tokens,
                first.truncated + second.truncated,
            )

    async def compute_seconds(self) -> float | None:
        """Seconds that the service's engines have computed since its start; None if unknown."""
        try:
            response = await self._http.get("/metrics")
        except httpx.TransportError:
            return None
        values = re.findall(r"^service_compute_seconds_total\S* ([0-9.e+-]+)$", response.text, re.MULTILINE)
        total: float = sum(float(value) for value in values)
        return total if response.status_code == 200 else None

    async def _embed(self, rows: Sequence[Row], started: float) -> Answer:
        texts = {"input": [row.text for row in rows], "encoding_format": "base64"}
        body = orjson.dumps(self.fields | request_fields(self.outputs) | texts)
        for attempt in count():
            try:
                response = await self._http.post("/v1/embeddings", content=body)
            except httpx.TransportError as error:
                problem = f"{self.url} does not respond ({type(error).__name__})."
                delay = _backoff(attempt, _LONGEST_DISCONNECTED_S)
            else:
                if response.status_code == 200:
                    return self._read(response, len(rows))
                problem = f"The service responds with status {response.status_code}: {error_message(response)}"
                if response.status_code in _TOO_LARGE and len(rows) > 1:
                    if response.status_code in _RETRIED:  # 504 took time, which counts
                        self._remaining(problem, started)
                    raise _TooLargeError
                if response.status_code not in _RETRIED:
                    raise _rejection(response, rows)
                delay = _retry_after(response) or _backoff(attempt, _LONGEST_DELAY_S)
            await self._wait(problem, delay, started)
        raise AssertionError

    def _read(self, response: httpx.Response, count: int) -> Answer:
        try:
            content = orjson.loads(response.content)
            items = sorted(content["data"], key=lambda item: item["index"])
            arrays = read_items(items, self.outputs)
            model, tokens = str(content["model"]), int(content["usage"]["prompt_tokens"])
            warnings = [str(warning) for warning in content.get("warnings", [])]
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{self.url} did not return vectors ({type(error).__name__}).") from None
        if [item["index"] for item in items] != list(range(count)) or not are_valid(arrays):
            raise CorpusError(f"{self.url} returned missing or invalid vectors for {count} texts.")
        truncated = sum(_TRUNCATION.match(warning) is not None for warning in warnings)
        for warning in warnings:
            if not _TRUNCATION.match(warning):
                self._notify(warning)
        self._last_answer = self.clock()
        return Answer(arrays, model, tokens, truncated)

    async def _wait(self, problem: str, delay: float, started: float) -> None:
        """Wait before a retry; GaveUpError if the patience has run out."""
        remaining = self._remaining(problem, started)
        self._notify(f"{problem} Retrying for up to {self.patience_s:g} s.")
        await self.sleep(min(delay, remaining))

    def _remaining(self, problem: str, started: float) -> float:
        """Remaining seconds of patience; GaveUpError if there are none."""
        remaining = max(started, self._last_answer) + self.patience_s - self.clock()
        if remaining <= 0:
            raise GaveUpError(f"{problem} No request succeeded for {self.patience_s:g} s (--patience).")
        return remaining

    def _notify(self, message: str) -> None:
        """Show a message, unless the same one was shown recently."""
        now = self.clock()
        if now - self._notified.get(message, -_NOTICE_S) >= _NOTICE_S:
            self._notified[message] = now
            self.notice(message)


def _backoff(attempt: int, longest: float) -> float:
    """Exponential backoff with jitter."""
    return min(longest, _FIRST_DELAY_S * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1)


def _retry_after(response: httpx.Response) -> float | None:
    """The Retry-After header in seconds, with jitter; None for a date."""
    value = response.headers.get("Retry-After", "")
    return float(value) + random.uniform(0, 0.5) if value.isdigit() else None


def error_message(response: httpx.Response) -> str:
    """The message of an error response, or else its status in words."""
    return str(_error(response).get("message") or response.reason_phrase)


def _error(response: httpx.Response) -> dict[str, Any]:
    """The error object of the response; empty if it comes from a proxy, for example."""
    try:
        error = orjson.loads(response.content)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _rejection(response: httpx.Response, rows: Sequence[Row]) -> CorpusError:
    """The service's error message with the row or rows that it concerns."""
    message = error_message(response)
    place = f"{rows[0].place} to {rows[-1].place}" if len(rows) > 1 else rows[0].place
    param = re.fullmatch(r"input\.(\d+)", str(_error(response).get("param")))
    if param and int(param[1]) < len(rows):
        row = rows[int(param[1])]
        place, message = row.place, message.replace(param[0], "the text", 1)
    hint = " Give a key with --api-key-file." if response.status_code == 401 else ""
    return CorpusError(f"The service rejects {place} with status {response.status_code}: {message}{hint}")
