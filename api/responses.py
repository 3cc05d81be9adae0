"""Results to bytes: orjson straight from NumPy, no Python object for each number."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from api.encodings import Encoding, OutputType, encode, quantize
from api.json_body import beside
from errors import InvalidRequestError
from runners.contracts import EmbeddingResult, RerankResult, TruncatedInput

LARGE_ANSWER = 65_536
"""Numbers or characters in an answer from which its bytes are made off the event loop."""
_MAX_HEADER = 1_000

JSON = "application/json"


def json_response(content: object, status: int = 200) -> Response:
    """Any plain content as JSON."""
    return Response(orjson.dumps(content), status_code=status, media_type=JSON)


async def response_of(make: Callable[[], bytes], *, large: bool, warnings: Sequence[str] = ()) -> Response:
    """An answer whose bytes `make` writes, a large one beside the event loop.

    `warnings` go into a header, for answers that have no other place for them.
    """
    return Response(await beside(make, large=large), media_type=JSON, headers=warning_header(warnings))


async def vectors_response(
    result: EmbeddingResult, make: Callable[[], bytes], *, warnings: Sequence[str] = ()
) -> Response:
    """An answer with vectors."""
    return await response_of(make, large=result.vectors.size >= LARGE_ANSWER, warnings=warnings)


def warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """X-Warnings, with as many sentences as fit; none where there is nothing to say."""
    text = " ".join(warnings)
    if len(text) > _MAX_HEADER:
        text = f"{text[:_MAX_HEADER].rpartition('. ')[0]}. And more."
    return {"X-Warnings": text.encode("ascii", "replace").decode()} if text else {}


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
    documents: Sequence[orjson.Fragment | str] | None,
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
    return orjson.dumps(body | {"object": "list", "data": results} if as_data else body)


Documents = Sequence[str | dict[str, Any]]


async def returned(documents: Documents, as_objects: bool) -> list[orjson.Fragment | str]:
    """Documents as they go into an answer, objects written beside the event loop: they may hold anything."""
    objects = any(isinstance(each, dict) for each in documents)
    return await beside(returned_documents, documents, as_objects, large=objects)


def returned_documents(documents: Documents, as_objects: bool) -> list[orjson.Fragment | str]:
    """Documents as they go into an answer; `as_objects`: strings as objects with the key text.

    Written before anything is computed: InvalidRequestError names a document that JSON cannot carry back.
    """
    return [
        _fragment({"text": each} if as_objects and isinstance(each, str) else each, index)
        for index, each in enumerate(documents)
    ]


def _fragment(document: str | dict[str, Any], index: int) -> orjson.Fragment | str:
    """What a user sent, number by number: orjson refuses integers beyond 64 bits, and writes 1e400 as null."""
    if isinstance(document, str):
        return document
    try:
        written = orjson.dumps(document)
        if b"null" not in written:
            return orjson.Fragment(written)
    except orjson.JSONEncodeError:
        pass
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        name = f"documents.{index}"
        raise InvalidRequestError(
            f"{name} has a number that is too large to be returned. Send it as a string, or send "
            "return_documents: false.",
            param=name,
        ) from None
    return orjson.Fragment(text.encode())


def truncation_warnings(truncated: Sequence[TruncatedInput], field: str) -> list[str]:
    """One sentence for each input that was cut: its index and both counts."""
    return [_truncation_warning(cut, f"{field}.{cut.index}" if cut.index >= 0 else "query") for cut in truncated]


def _truncation_warning(cut: TruncatedInput, name: str) -> str:
    count = f"{'' if cut.exact else 'more than '}{cut.tokens} tokens"
    if cut.by == "bytes":
        return f"{name} was read in part, up to the limit of MAX_TEXT_BYTES: {cut.tokens} tokens were found in it."
    if cut.by == "query":
        return f"{name} was cut from {count} to {cut.kept}, half of what the model has room for."
    limit = "the model's limit" if cut.by == "model" else "the request's max_tokens_per_doc"
    return f"{name} was cut from {count} to {limit} of {cut.kept}."
