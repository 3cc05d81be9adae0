"""Results to bytes: orjson straight from NumPy, no Python object for each number."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from api.encodings import Encoding, OutputType, encode, quantize
from runners.embedding import EmbeddingResult
from runners.rerank import RerankResult
from runners.tokenization import Truncation

_LARGE_ANSWER = 65_536
"""Numbers in an answer from which its bytes are made off the event loop."""

JSON = "application/json"


def json_response(content: object, status: int = 200) -> Response:
    """Any plain content as JSON."""
    return Response(orjson.dumps(content), status_code=status, media_type=JSON)


async def vectors_response(result: EmbeddingResult, make: Callable[[], bytes]) -> Response:
    """An answer with vectors, whose bytes `make` writes; a large one is written beside the event loop."""
    body = make() if result.vectors.size < _LARGE_ANSWER else await asyncio.to_thread(make)
    return Response(body, media_type=JSON)


def usage(tokens: int) -> dict[str, int]:
    """OpenAI's count; nothing is generated, so that all tokens are the prompt's."""
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def embedding_bytes(
    result: EmbeddingResult,
    *,
    model: str,
    encoding: Encoding = "float",
    output_type: OutputType = "float",
    warnings: Sequence[str] = (),
) -> bytes:
    """The body of an answer to /v1/embeddings. Rows are written one by one, so that a long list shares the GIL."""
    rows = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, encode(vector, encoding))
        for index, vector in enumerate(quantize(result.vectors, output_type))
    )
    tail: dict[str, Any] = {"model": model, "usage": usage(result.prompt_tokens)}
    if warnings:
        tail["warnings"] = list(warnings)
    return b'{"object":"list","data":[%b],%b' % (rows, orjson.dumps(tail)[1:])


def ranked(result: RerankResult, *, top_n: int | None, raw_scores: bool = False) -> list[tuple[int, float]]:
    """Index and score, best first; equal scores in input order; `top_n` None or 0: all."""
    scores = result.raw if raw_scores else result.scores
    order = np.argsort(-scores, kind="stable")[: top_n or None]
    return [(int(index), float(scores[index])) for index in order]


def rerank_bytes(
    result: RerankResult,
    order: Sequence[tuple[int, float]],
    *,
    model: str,
    documents: Sequence[object] | None,
    processing_time_ms: float,
    warnings: Sequence[str] = (),
    as_data: bool = False,
    api_version: object = "v1",
) -> bytes:
    """The body of an answer to /v1/rerank: `document` only where `documents` are given.

    `as_data`: the results under Voyage's name, too. `api_version`: "v1", or Cohere's object for its SDK.
    """
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": score} for index, score in order]
    if documents is not None:
        for entry in results:
            entry["document"] = documents[entry["index"]]
    meta: dict[str, Any] = {
        "api_version": api_version,
        "processing_time_ms": round(processing_time_ms, 3),
        "total_documents": len(result.scores),
        "returned_documents": len(results),
    }
    if warnings:
        meta["warnings"] = list(warnings)
    body = {
        "id": str(uuid.uuid4()),
        "model": model,
        "results": results,
        "usage": usage(result.prompt_tokens),
        "meta": meta,
    }
    return _dumps(body | {"object": "list", "data": results} if as_data else body)


def _dumps(content: object) -> bytes:
    """Content that holds what a user sent: orjson refuses integers beyond 64 bits, which JSON allows."""
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


_LIMITS = {"model": "the model's limit", "request": "the request's max_tokens_per_doc"}


def truncation_warnings(truncations: Sequence[Truncation], field: str) -> list[str]:
    """One sentence for each input that was cut: its index and both counts."""
    return [
        f"{f'{field}.{cut.index}' if cut.index >= 0 else 'query'} was cut from "
        f"{'' if cut.exact else 'more than '}{cut.tokens} tokens to {_LIMITS[cut.by]} of {cut.kept}."
        for cut in truncations
    ]
