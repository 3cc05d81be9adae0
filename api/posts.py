"""Every POST route: which bodies it takes, and who answers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from api.dialects import cohere, tei
from api.endpoints import Endpoints
from api.fields import Body
from api.schemas import EmbeddingRequest, RerankRequest, TokenizeRequest, read_json

Handler = Callable[[Endpoints, Any, Mapping[str, str]], Awaitable[Response]]


def _always(_: dict[str, Any]) -> bool:
    return True


@dataclass(frozen=True)
class Form:
    """A body that a route takes where `fits`, who answers it, and the name of the answer's schema."""

    schema: type[Body]
    handle: Handler
    answer: str
    fits: Callable[[dict[str, Any]], bool] = _always


@dataclass(frozen=True)
class Post:
    """A POST route; the first form that fits is taken."""

    path: str
    summary: str
    forms: tuple[Form, ...]

    async def answer(self, endpoints: Endpoints, body: bytes, headers: Mapping[str, str]) -> Response:
        """A request's bytes to its answer; ValidationError or InvalidRequestError where they are wrong."""
        content = read_json(body)
        form = next(form for form in self.forms if form.fits(content))
        return await form.handle(endpoints, form.schema.model_validate(content), headers)


async def _embeddings(endpoints: Endpoints, request: EmbeddingRequest, _: Mapping[str, str]) -> Response:
    return await endpoints.embeddings(request)


async def _rerank(endpoints: Endpoints, request: RerankRequest, headers: Mapping[str, str]) -> Response:
    return await endpoints.rerank(request, headers)


async def _tokenize(endpoints: Endpoints, request: TokenizeRequest, _: Mapping[str, str]) -> Response:
    return await endpoints.tokenize(request)


def _has_texts(content: dict[str, Any]) -> bool:
    return "texts" in content and "documents" not in content


def _compares(content: dict[str, Any]) -> bool:
    inputs = content.get("inputs")
    return isinstance(inputs, dict) and "source_sentence" in inputs


EMBEDDINGS = Form(EmbeddingRequest, _embeddings, "Embeddings")
RERANK = Form(RerankRequest, _rerank, "Ranking")
TEI_EMBED = Form(tei.TeiEmbedRequest, tei.embed, "Vectors")
TEI_SIMILARITY = Form(tei.TeiSimilarityRequest, tei.similarity, "Similarities")

BENTOML_POSTS = (
    Post("/v1/embeddings", "Texts to unit vectors (OpenAI, Jina, Voyage).", (EMBEDDINGS,)),
    Post("/v1/rerank", "Documents by relevance to a query (Cohere v1, Jina, Voyage).", (RERANK,)),
)
"""The two that service.py declares as BentoML APIs."""

POSTS = (
    Post("/embeddings", "The same as /v1/embeddings.", (EMBEDDINGS,)),
    Post(
        "/rerank",
        "With `texts`: text-embeddings-inference's answer. Else the same as /v1/rerank.",
        (Form(tei.TeiRerankRequest, tei.rerank, "TeiRanking", _has_texts), RERANK),
    ),
    Post("/v1/tokenize", "How many tokens texts have.", (Form(TokenizeRequest, _tokenize, "TokenCounts"),)),
    Post(
        "/v2/rerank",
        "Documents by relevance to a query (Cohere v2).",
        (Form(cohere.CohereRerankRequest, cohere.rerank_v2, "CohereRanking"),),
    ),
    Post(
        "/v1/embed",
        "Texts to unit vectors (Cohere v1).",
        (Form(cohere.CohereEmbedRequest, cohere.embed_v1, "CohereEmbeddings"),),
    ),
    Post(
        "/v2/embed",
        "Texts to unit vectors (Cohere v2).",
        (Form(cohere.CohereEmbedRequest, cohere.embed_v2, "CohereEmbeddings"),),
    ),
    Post("/embed", "Texts to unit vectors (text-embeddings-inference).", (TEI_EMBED,)),
    Post("/similarity", "Cosines of sentences to one (text-embeddings-inference).", (TEI_SIMILARITY,)),
    Post(
        "/tokenize",
        "The tokens of texts (text-embeddings-inference).",
        (Form(tei.TeiTokenizeRequest, tei.tokenize, "Tokens"),),
    ),
    Post(
        "/",
        "As /similarity or /embed, where huggingface_hub's InferenceClient looks for them.",
        (Form(tei.TeiSimilarityRequest, tei.similarity, "Similarities", _compares), TEI_EMBED),
    ),
)
"""Those that BentoML does not know of: aliases and other services' routes."""
