"""Answer a line of a batch as the HTTP request that it describes, below all requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from api.dialects import openai
from api.dialects.openai import EmbeddingRequest, RerankRequest
from api.error_body import error_body, translate
from api.json_body import LARGE_BODY, read_json, run
from api.responses import Answer
from api.work import Work
from batches.objects import BatchEndpoint
from batches.running import Compute, Computed
from errors import ShuttingDownError
from runners.contracts import BACKGROUND_PRIORITY
from settings import Settings

_Handle = Callable[[Work, Any, Mapping[str, str]], Awaitable[Answer[Any]]]
_FORMS: Mapping[BatchEndpoint, tuple[type[EmbeddingRequest | RerankRequest], _Handle]] = {
    "/v1/embeddings": (EmbeddingRequest, openai.embeddings),
    "/v1/rerank": (RerankRequest, openai.rerank_v1),
}
"""The bodies and handlers of these routes in api/routes.py."""


def computing(work: Work) -> Compute:
    """Computes lines with the models of `work`."""
    return partial(_compute, work)


async def _compute(work: Work, endpoint: BatchEndpoint, line: bytes) -> Computed:
    """The response to a valid line, an error body included."""
    body, handle = _FORMS[endpoint]

    def read(line: bytes, settings: Settings) -> tuple[str, dict[str, Any]]:
        content = read_json(line, settings)
        return content["custom_id"], content["body"]

    large = len(line) >= LARGE_BODY
    custom_id, content = await run(read, line, work.settings, in_thread=large)
    try:
        request: EmbeddingRequest | RerankRequest
        request = await run(partial(body.model_validate, context=work.settings), content, in_thread=large)
        priority = BACKGROUND_PRIORITY + (request.priority or 0)
        response = await handle(work, request.model_copy(update={"priority": priority}), {})
    except Exception as error:
        known = translate(error)
        wait_s = 1 if isinstance(known, ShuttingDownError) else known.retry_after_s
        return Computed(custom_id, known.status, error_body(known), wait_s)
    return Computed(custom_id, 200, bytes(response.body))
