"""Results to bytes: orjson straight from NumPy, no Python object for each number."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

from runners.embedding import EmbeddingResult
from runners.rerank import RerankResult
from runners.tokenization import Truncation

EncodingFormat = Literal["float", "base64"]


def json_response(content: object, status: int = 200) -> Response:
    """Any plain content as JSON."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


def embedding_bytes(result: EmbeddingResult, *, model: str, encoding_format: EncodingFormat) -> bytes:
    """The body of an answer to /v1/embeddings. Rows are written one by one, so that a long list shares the GIL."""
    encode = _base64 if encoding_format == "base64" else _floats
    rows = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (index, encode(vector))
        for index, vector in enumerate(result.vectors)
    )
    tail: dict[str, Any] = {
        "model": model,
        "usage": {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens},
    }
    if result.truncations:
        tail["warnings"] = truncation_warnings(result.truncations, "input")
    return b'{"object":"list","data":[%b],%b' % (rows, orjson.dumps(tail)[1:])


def _floats(vector: NDArray[np.float32]) -> bytes:
    return orjson.dumps(np.ascontiguousarray(vector), option=orjson.OPT_SERIALIZE_NUMPY)


def _base64(vector: NDArray[np.float32]) -> bytes:
    """Little-endian float32, as OpenAI's SDKs decode it."""
    return b'"%b"' % base64.b64encode(vector.astype("<f4", copy=False).tobytes())


def rerank_bytes(
    result: RerankResult,
    *,
    model: str,
    documents: Sequence[str],
    top_n: int | None,
    return_documents: bool,
    processing_time_ms: float,
) -> bytes:
    """The body of an answer to /v1/rerank: best first, equal scores in input order, `document` only if asked for."""
    order = np.argsort(-result.scores, kind="stable")[: top_n or None]
    results: list[dict[str, Any]] = [
        {"index": int(index), "relevance_score": float(result.scores[index])} for index in order
    ]
    if return_documents:
        for entry in results:
            entry["document"] = documents[entry["index"]]
    meta: dict[str, Any] = {
        "api_version": "v1",
        "processing_time_ms": round(processing_time_ms, 3),
        "total_documents": len(documents),
        "returned_documents": len(results),
    }
    if result.truncations:
        meta["warnings"] = truncation_warnings(result.truncations, "documents")
    return orjson.dumps(
        {
            "id": str(uuid.uuid4()),
            "model": model,
            "results": results,
            "usage": {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens},
            "meta": meta,
        }
    )


def truncation_warnings(truncations: Sequence[Truncation], field: str) -> list[str]:
    """One sentence for each input that was cut: its index and both counts."""
    return [
        f"{f'{field}.{cut.index}' if cut.index >= 0 else 'query'} was cut from "
        f"{'' if cut.exact else 'more than '}{cut.tokens} tokens to the model's limit of {cut.kept}."
        for cut in truncations
    ]
