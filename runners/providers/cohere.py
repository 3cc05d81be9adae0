"""Forward rerank requests to Cohere, or to a private deployment, with the official SDK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from errors import InvalidRequestError, ModelUnavailableError, OverloadedError, ServiceError, UpstreamError
from models.catalog import ModelSpec
from runners.contracts import DEFAULT_RERANK_OPTIONS, RerankOptions, RerankResult, Scores
from settings import Settings

if TYPE_CHECKING:
    from cohere.core import ApiError

_RETRIES = 2


class CohereReranker:
    """A reranker that runs at Cohere."""

    def __init__(self, spec: ModelSpec, settings: Settings) -> None:
        from cohere import AsyncClientV2

        if settings.cohere_api_key is None:
            raise ModelUnavailableError(f"{spec.repo} is forwarded to Cohere's API: set COHERE_API_KEY.")
        self._model = spec.repo.split("/")[1]
        self._client = AsyncClientV2(
            settings.cohere_api_key.get_secret_value(),
            base_url=settings.cohere_base_url,
            client_name="rerank-embedding-service",
            timeout=settings.request_timeout_s,
        )

    async def rerank(
        self, query: str, documents: Sequence[str], options: RerankOptions = DEFAULT_RERANK_OPTIONS
    ) -> RerankResult:
        """Cohere's scores, from 0 to 1; `raw` is the same, because Cohere returns no logits."""
        if options.truncate != "end":
            raise InvalidRequestError(
                "This model is forwarded to Cohere, which always truncates long documents at the end. Omit truncate.",
                param="truncate",
            )
        answer = await self._request(query, documents, options)
        scores = _scores(answer, len(documents))
        return RerankResult(scores, scores, _input_tokens(answer), [])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.__aexit__(None, None, None)  # type: ignore[no-untyped-call]  # the SDK has no other way to close

    async def _request(self, query: str, documents: Sequence[str], options: RerankOptions) -> Any:
        import httpx
        from cohere.core import ApiError

        optional = {"max_tokens_per_doc": options.max_document_tokens, "priority": options.priority or None}
        given: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
        try:
            return await self._client.rerank(
                model=self._model,
                query=query,
                documents=list(documents),
                request_options={"max_retries": _RETRIES},
                **given,
            )
        except ApiError as error:
            raise _translate(error, [query, *documents]) from error
        except httpx.TimeoutException as error:
            raise UpstreamError("Cohere did not respond in time. Try again.", retry_after_s=5) from error
        except httpx.HTTPError as error:
            raise UpstreamError("Cohere cannot be reached. Check the network and COHERE_BASE_URL.") from error
        except (TypeError, ValueError, httpx.InvalidURL) as error:  # from the SDK, for an invalid body or URL
            raise UpstreamError("Cohere's response cannot be read. Check COHERE_BASE_URL.") from error


def _scores(answer: Any, count: int) -> Scores:
    """One finite score for each document (N,): the SDK checks neither types nor counts."""
    try:
        by_index = {result.index: float(result.relevance_score) for result in answer.results}
        scores = np.array([by_index[index] for index in range(count)], dtype=np.float64)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UpstreamError("Cohere did not return a score for every document. Try again.") from error
    if not np.isfinite(scores).all():
        raise UpstreamError("Cohere returned a score that is not a finite number. Try again.")
    return scores


def _translate(error: ApiError, texts: Sequence[str]) -> ServiceError:
    """Translate Cohere's error, with its message if it concerns the request."""
    status = error.status_code or 0
    if status in (401, 403, 498):
        return ModelUnavailableError("Cohere rejected this service's API key (COHERE_API_KEY).")
    if status == 429:
        return OverloadedError("Cohere's rate limit was reached. Try again later.", retry_after_s=_retry_after(error))
    if status in (400, 413, 422):
        return InvalidRequestError(f"Cohere rejected the request: {_message(error, texts) or f'status {status}'}")
    if status < 500:  # not about this request: unknown route or model, no credit, or a response that is not JSON
        return UpstreamError(f"Cohere responded with status {status}. Check COHERE_BASE_URL and the account.")
    return UpstreamError(f"Cohere failed with status {status}. Try again.", retry_after_s=5)


def _message(error: ApiError, texts: Sequence[str]) -> str:
    """Cohere's error message; empty if it quotes the user's texts."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return message if isinstance(message, str) and not any(text in message for text in texts) else ""


def _retry_after(error: ApiError) -> int:
    value = (error.headers or {}).get("retry-after", "")
    return int(value) if value.isdecimal() else 5


def _input_tokens(answer: Any) -> int:
    tokens = getattr(getattr(answer, "meta", None), "tokens", None)
    return int(getattr(tokens, "input_tokens", None) or 0)
