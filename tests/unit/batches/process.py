"""The batch API over a folder, with a clock that only the test moves and a model that answers with the custom id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from batches.lines import Limits
from batches.objects import Batch, BatchEndpoint, FileObject
from batches.running import Computed, Tools
from batches.service import BatchService
from errors import InvalidRequestError
from tests.unit.fakes import Clock

AGE_S = 7 * 86_400.0
ENDPOINT: BatchEndpoint = "/v1/embeddings"
ENDPOINTS: list[BatchEndpoint] = ["/v1/embeddings", "/v1/rerank"]


def request(custom_id: str, **changed: Any) -> dict[str, Any]:
    """A valid line, with some fields changed."""
    return {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": {"input": custom_id}} | changed


def jsonl(*lines: Any) -> bytes:
    """Lines of an input file."""
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def parse(line: bytes) -> dict[str, Any]:
    """As api/json_body.py, without its limits."""
    try:
        content = json.loads(line)
    except ValueError:
        raise InvalidRequestError("The body is not valid JSON.") from None
    if not isinstance(content, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return content


class Process:
    """A process with the batch API, and what its model was given. Several may share a folder."""

    def __init__(self, folder: Path, clock: Clock | None = None, max_lines: int = 1000) -> None:
        self.folder = folder
        self.clock = clock or Clock()
        self.computed: list[str] = []
        """The custom ids of the lines that were computed, in order."""
        self.naps: list[float] = []
        self.compute: Callable[[str], Awaitable[Computed]] = self.answer
        """Computes the line with a custom id; tests replace it."""
        limits = Limits(max_lines, max_body_bytes=100_000)
        tools = Tools(compute=self._compute, parse=parse, limits=limits, clock=self.clock, sleep=self._sleep)
        self.service = BatchService.open(folder, tools, max_age_s=AGE_S, endpoints=ENDPOINTS)
        self.files, self.batches = self.service.files, self.service.batches

    async def answer(self, custom_id: str) -> Computed:
        """The response to a line; requests named `bad...` are rejected."""
        return Computed(custom_id, 400 if custom_id.startswith("bad") else 200, orjson.dumps({"for": custom_id}))

    async def _compute(self, endpoint: BatchEndpoint, line: bytes) -> Computed:
        custom_id = parse(line)["custom_id"]
        computed = await self.compute(custom_id)
        self.computed.append(custom_id)
        return computed

    async def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.clock.now += seconds
        await asyncio.sleep(0)

    def upload(self, content: bytes) -> FileObject:
        """Store a file for a batch."""
        with self.files.draft() as draft:
            draft.write(content)
            draft.flush()
            return self.files.publish(Path(draft.name), "requests.jsonl", self.files.new_id(), "batch")

    def create(self, content: bytes, endpoint: BatchEndpoint = ENDPOINT) -> Batch:
        """Create a batch from an input file with this content."""
        file_id = self.upload(content)["id"]
        path = self.files.content(file_id)
        return self.batches.create(endpoint, input_file_id=file_id, content=path)

    async def run(self) -> bool:
        """Run the next batch, to its end."""
        return await self.service.runner.run_next()

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of an output or error file."""
        assert file_id is not None
        return [json.loads(line) for line in self.files.content(file_id).read_bytes().splitlines()]

    def answered(self, file_id: str | None) -> list[str]:
        """The custom ids in an output or error file."""
        return [line["custom_id"] for line in self.lines(file_id)]
