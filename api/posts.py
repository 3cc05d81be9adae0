"""Every POST route: which bodies it takes, and who answers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from api.dialects import cohere, tei
from api.endpoints import Endpoints
from api.fields import Body
from api.json_body import LARGE_BODY, beside, read_json
from api.schemas import EmbeddingRequest, ParseLimits, RerankRequest, TokenizeRequest
from settings import Task

Handler = Callable[[Endpoints, Any, Mapping[str, str]], Awaitable[Response]]


def _always(_: dict[str, Any]) -> bool:
    return True


@dataclass(frozen=True)
class Form:
    """A body that a route takes where `fits`, who answers it, the name of the answer's schema, and an example."""

    schema: type[Body]
    handle: Handler
    answer: str
    example: dict[str, Any]
    fits: Callable[[dict[str, Any]], bool] = _always


@dataclass(frozen=True)
class Post:
    """A POST route; the first form that fits is taken."""

    path: str
    summary: str
    forms: tuple[Form, ...]
    task: Task | None = None
    """What it belongs to; None: it is served whatever SERVE_TASKS says."""

    async def answer(self, endpoints: Endpoints, body: bytes, headers: Mapping[str, str]) -> Response:
        """A request's bytes to its answer; ValidationError or InvalidRequestError where they are wrong."""
        limits = endpoints.settings
        form, request = await beside(self._read, body, limits, large=len(body) >= LARGE_BODY)
        return await form.handle(endpoints, request, headers)

    def _read(self, body: bytes, limits: ParseLimits) -> tuple[Form, Body]:
        content = read_json(body, limits)
        form = next(form for form in self.forms if form.fits(content))
        return form, form.schema.model_validate(content, context=limits)


async def _embeddings(endpoints: Endpoints, request: EmbeddingRequest, _: Mapping[str, str]) -> Response:
    return await endpoints.embeddings(request)


async def _rerank(endpoints: Endpoints, request: RerankRequest, headers: Mapping[str, str]) -> Response:
    return await endpoints.rerank(request, headers)


async def _rerank_as_documented(endpoints: Endpoints, request: RerankRequest, _: Mapping[str, str]) -> Response:
    """For clients of infinity, whose documents are strings; Cohere's do not come here."""
    return await endpoints.rerank(request, {})


async def _tokenize(endpoints: Endpoints, request: TokenizeRequest, _: Mapping[str, str]) -> Response:
    return await endpoints.tokenize(request)


def _has_texts(content: dict[str, Any]) -> bool:
    return "texts" in content and "documents" not in content


def _has_text(content: dict[str, Any]) -> bool:
    return "text" in content and "input" not in content


def _compares(content: dict[str, Any]) -> bool:
    inputs = content.get("inputs")
    return isinstance(inputs, dict) and "source_sentence" in inputs


TEXTS = ["Mars is red.", "今日は良い天気です。"]
QUESTION = "Which planet is red?"

EMBEDDINGS = Form(EmbeddingRequest, _embeddings, "Embeddings", {"input": TEXTS})
RERANK = Form(RerankRequest, _rerank, "Ranking", {"query": QUESTION, "documents": TEXTS, "top_n": 1})
TOKENIZE = Form(TokenizeRequest, _tokenize, "TokenCounts", {"input": TEXTS})
COHERE_TOKENIZE = Form(
    cohere.CohereTokenizeRequest, cohere.tokenize, "CohereTokens", {"text": TEXTS[0]}, fits=_has_text
)
COHERE_RERANK = Form(
    cohere.CohereRerankRequest, cohere.rerank_v2, "CohereRanking", {"query": QUESTION, "documents": TEXTS}
)
COHERE_EXAMPLE = {"texts": TEXTS, "input_type": "search_document", "embedding_types": ["float"]}
COHERE_EMBED_V1 = Form(cohere.CohereEmbedRequest, cohere.embed_v1, "CohereEmbeddings", COHERE_EXAMPLE)
COHERE_EMBED_V2 = Form(cohere.CohereEmbedRequest, cohere.embed_v2, "CohereEmbeddings", COHERE_EXAMPLE)
TEI_EMBED = Form(tei.TeiEmbedRequest, tei.embed, "Vectors", {"inputs": TEXTS})
TEI_SIMILARITY = Form(
    tei.TeiSimilarityRequest,
    tei.similarity,
    "Similarities",
    {"inputs": {"source_sentence": QUESTION, "sentences": TEXTS}},
)
TEI_RERANK = Form(tei.TeiRerankRequest, tei.rerank, "TeiRanking", {"query": QUESTION, "texts": TEXTS}, fits=_has_texts)
TEI_TOKENIZE = Form(tei.TeiTokenizeRequest, tei.tokenize, "Tokens", {"inputs": TEXTS})

BENTOML_POSTS = (
    Post("/v1/embeddings", "Texts to unit vectors (OpenAI, Jina, Voyage).", (EMBEDDINGS,), "embeddings"),
    Post("/v1/rerank", "Documents by relevance to a query (Cohere v1, Jina, Voyage).", (RERANK,), "rerank"),
)
"""The two that service.py declares as BentoML APIs."""

POSTS = (
    Post("/embeddings", "The same as /v1/embeddings.", (EMBEDDINGS,), "embeddings"),
    Post(
        "/rerank",
        "With `texts`: text-embeddings-inference's answer. Else the same as /v1/rerank.",
        (TEI_RERANK, replace(RERANK, handle=_rerank_as_documented)),
        "rerank",
    ),
    Post(
        "/v1/tokenize",
        "How many tokens texts have. With `text`: Cohere's answer.",
        (COHERE_TOKENIZE, TOKENIZE),
    ),
    Post("/v2/rerank", "Documents by relevance to a query (Cohere v2).", (COHERE_RERANK,), "rerank"),
    Post("/v1/embed", "Texts to unit vectors (Cohere v1).", (COHERE_EMBED_V1,), "embeddings"),
    Post("/v2/embed", "Texts to unit vectors (Cohere v2).", (COHERE_EMBED_V2,), "embeddings"),
    Post("/embed", "Texts to unit vectors (text-embeddings-inference).", (TEI_EMBED,), "embeddings"),
    Post("/similarity", "Cosines of sentences to one (text-embeddings-inference).", (TEI_SIMILARITY,), "embeddings"),
    Post("/tokenize", "The tokens of texts (text-embeddings-inference).", (TEI_TOKENIZE,)),
    Post(
        "/",
        "As /similarity or /embed, where huggingface_hub's InferenceClient looks for them.",
        (replace(TEI_SIMILARITY, fits=_compares), TEI_EMBED),
        "embeddings",
    ),
)
"""Those that BentoML does not know of: aliases and other services' routes."""
