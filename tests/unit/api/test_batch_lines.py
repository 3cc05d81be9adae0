"""A line of a batch is answered as the request that it describes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.batch_lines import computing
from batches.running import Computed
from errors import ModelUnavailableError, OverloadedError, ShuttingDownError
from runners.contracts import BACKGROUND_PRIORITY
from settings import load_settings
from tests.errors import message_of
from tests.unit.batches.process import request


class FakeWork:
    """Raises an error instead of computing, and notes the priorities of the requests."""

    settings = load_settings({"MAX_INPUTS": "2"})

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.priorities: list[int] = []

    async def embed(self, params: Any) -> Any:
        self.priorities.append(params.options.priority)
        raise self._error

    rank = embed


async def compute(error: Exception, body: dict[str, Any], url: Any = "/v1/embeddings") -> tuple[Computed, list[int]]:
    work: Any = FakeWork(error)
    line = orjson.dumps(request("a", url=url, body=body))
    return await computing(work)(url, line), work.priorities


@pytest.mark.parametrize("given", [None, 0, 999])
@pytest.mark.parametrize(
    ("url", "body"),
    [("/v1/embeddings", {"input": "text"}), ("/v1/rerank", {"query": "query", "documents": ["text"]})],
)
async def test_lines_run_below_all_requests(url: str, body: dict[str, Any], given: int | None) -> None:
    _, (priority,) = await compute(OverloadedError("Full."), body | {"priority": given}, url)
    assert priority == BACKGROUND_PRIORITY + (given or 0) > 999


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": ["a"] * 3}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": 7}, "input"),
    ],
)
async def test_an_invalid_body_is_answered_as_over_http(body: dict[str, Any], param: str) -> None:
    computed, priorities = await compute(AssertionError(), body)
    assert (computed.custom_id, computed.status, computed.retry_after_s) == ("a", 400, None)
    message_of(orjson.loads(computed.body), "invalid_value", param)
    assert priorities == []


@pytest.mark.parametrize(
    ("error", "status", "retry_after_s"),
    [
        (ModelUnavailableError("No."), 503, None),
        (ModelUnavailableError("No memory.", retry_after_s=5), 503, 5),
        (OverloadedError("Full.", retry_after_s=3), 429, 3),
        (ShuttingDownError("Later."), 503, 1),
        (ValueError("a user's own words"), 500, None),
    ],
)
async def test_only_what_may_pass_by_itself_is_tried_again(
    error: Exception, status: int, retry_after_s: float | None
) -> None:
    computed, _ = await compute(error, {"input": "text"})
    assert (computed.status, computed.retry_after_s) == (status, retry_after_s)
    assert "user's own" not in message_of(orjson.loads(computed.body))
