"""The work of the POST routes, shared by all API dialects: parameters in, a result out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.access_log import record_model, record_result
from api.callers import is_litellm, reads_objects
from api.counting import Counting
from api.cross_site import may_import
from api.fields import at_most
from api.params import EmbeddingParams, RerankParams
from api.responses import (
    LARGE_ANSWER,
    embedding_bytes,
    json_response,
    ranked,
    rerank_bytes,
    response_of,
    returned,
    truncation_warnings,
    usage,
    vectors_response,
)
from api.schemas import EmbeddingRequest, RerankRequest, TokenizeRequest
from errors import InvalidRequestError, RouteNotFoundError, WrongModelKindError
from models.catalog import ModelSpec
from models.prompts import choose_prompt, refuse_instruction
from runners.contracts import EmbeddingResult, Reranker, RerankResult
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.pool.model_pool import ModelPool
from runners.rerank import CosineReranker
from settings import Settings, Task

_MANY_IDS = 2_000
"""Token ids in a request from which they are decoded off the event loop."""


@dataclass(slots=True)
class Embedded:
    """Vectors, the model's name as the client sent it, and warnings for the client."""

    result: EmbeddingResult
    model: str
    warnings: list[str]


@dataclass(slots=True)
class Ranked:
    """Scores, the results as (index, score) from best to worst, and warnings for the client."""

    result: RerankResult
    order: list[tuple[int, float]]
    model: str
    warnings: list[str]


class Endpoints:
    """The POST routes over one pool of models."""

    def __init__(self, pool: ModelPool, settings: Settings) -> None:
        self._pool = pool
        self.settings = settings
        self.counting = Counting(pool, settings)

    async def embeddings(self, request: EmbeddingRequest) -> Response:
        """POST /v1/embeddings."""
        many = sum(len(each) for each in request.input if isinstance(each, list)) > _MANY_IDS
        most = self.settings.max_body_bytes
        params = await asyncio.to_thread(request.params, most) if many else request.params(most)
        output_type, encoding = request.output_type, request.encoding
        embedded = await self.embed(params)
        return await vectors_response(
            embedded.result,
            lambda: embedding_bytes(
                embedded.result,
                model=embedded.model,
                encoding=encoding,
                output_type=output_type,
                warnings=embedded.warnings,
            ),
        )

    async def rerank(self, request: RerankRequest, headers: Mapping[str, str]) -> Response:
        """POST /v1/rerank."""
        started = time.perf_counter()
        params, as_objects = request.params(), reads_objects(headers)
        documents = await returned(request.documents, as_objects) if request.return_documents else None
        answer = await self.rank(params)
        return await response_of(
            lambda: rerank_bytes(
                answer.result,
                answer.order,
                model=answer.model,
                documents=documents,
                processing_time_ms=(time.perf_counter() - started) * 1000,
                warnings=answer.warnings,
                as_data=request.from_voyage or is_litellm(headers),
                api_version={"version": "1"} if as_objects else "v1",
            ),
            large=documents is not None and sum(map(len, params.documents)) >= LARGE_ANSWER,
        )

    async def tokenize(self, request: TokenizeRequest) -> Response:
        """POST /v1/tokenize."""
        params = request.params()
        found = await self.counting.count(params)
        answer = {
            "object": "list",
            "model": found.model,
            "data": [
                {"object": "token_count", "index": index, "tokens": count, "fits": count <= found.max_tokens}
                for index, count in enumerate(found.counts)
            ],
            "max_tokens": found.max_tokens,
            "special_tokens": found.special_tokens,
            "usage": usage(sum(found.counts)),
        }
        return json_response(answer | ({"warnings": params.warnings} if params.warnings else {}))

    async def embed(self, params: EmbeddingParams) -> Embedded:
        """Inputs to vectors."""
        self._require("embeddings")
        options = params.options
        name = params.model or self.settings.embedding_model_name
        at_most(len(params.inputs), self.settings.max_inputs, options.input_name, "MAX_INPUTS")
        spec, suffix = self._pool.catalog.resolve(name)
        if spec.kind != "embedding":
            raise WrongModelKindError(
                f"{spec.name} is a reranker: it scores pairs and makes no vectors. GET /models lists the embedding "
                "models.",
                param="model",
            )
        record_model(spec.name)
        prompt = choose_prompt(
            spec,
            input_type=options.input_type,
            prompt_name=options.prompt_name,
            instruction=options.instruction,
            suffix=suffix,
        )
        async with self._pool.use(spec, may_import=may_import()) as model:
            assert isinstance(model.runner, EmbeddingRunner)
            result = await model.runner.embed(params.inputs, options, prompt=prompt)
            width = model.runner.dimensions
        _record(spec, len(params.inputs), result)
        warnings = [
            *params.warnings,
            *_empty_warning(params),
            *_width_warnings(spec, options.dimensions, width),
            *truncation_warnings(result.truncated, options.input_name),
        ]
        return Embedded(result, name, warnings)

    async def rank(self, params: RerankParams) -> Ranked:
        """A query and documents to scores."""
        self._require("rerank")
        options, documents = params.options, params.documents
        name = params.model or self.settings.reranker_model_name
        at_most(len(documents), self.settings.max_documents, options.documents_name, "MAX_DOCUMENTS")
        if options.top_n is not None and options.top_n < 0:
            raise InvalidRequestError("top_n must be 0 or more; 0 and null mean all.", param="top_n")
        _refuse_two_empty(params)
        spec, _ = self._pool.catalog.resolve(name)
        record_model(spec.name)
        query_prompt = _query_prompt(spec, options.instruction)
        async with self._pool.use(spec, may_import=may_import()) as model:
            result = await _reranker(model, query_prompt).rerank(params.query, documents, options)
        _record(spec, len(documents), result)
        order = ranked(result, top_n=options.top_n, raw_scores=options.raw_scores)
        warnings = [*params.warnings, *truncation_warnings(result.truncated, options.documents_name)]
        return Ranked(result, order, name, warnings)

    def _require(self, task: Task) -> None:
        """RouteNotFoundError where this process leaves the task to others."""
        if task not in self.settings.serve_tasks:
            tasks = ", ".join(self.settings.serve_tasks)
            raise RouteNotFoundError(f"This process serves {tasks} only (SERVE_TASKS). Ask the one that serves {task}.")


def _record(spec: ModelSpec, texts: int, result: EmbeddingResult | RerankResult) -> None:
    """Record the result for the request's log line, metrics and headers."""
    record_result(
        model=spec.name,
        texts=texts,
        tokens=result.prompt_tokens,
        truncated=len(result.truncated),
        timings=result.timings,
    )


def _refuse_two_empty(params: RerankParams) -> None:
    """InvalidRequestError if both the query and a document are empty."""
    if not params.query and "" in params.documents:
        name = f"{params.options.documents_name}.{list(params.documents).index('')}"
        raise InvalidRequestError(f"{name} and query are both empty; one of them must have a text.", param=name)


def _empty_warning(params: EmbeddingParams) -> list[str]:
    """The warning for an empty text."""
    if "" not in params.inputs:
        return []
    name = params.options.input_name
    return [f"{name} is empty: its vector says nothing but what the model puts around a text (special tokens)."]


def _width_warnings(spec: ModelSpec, dimensions: int | None, width: int) -> list[str]:
    """The warning for a number of dimensions that the model was not trained for."""
    if dimensions is None or dimensions == width or dimensions in spec.matryoshka:
        return []
    trained = ", ".join(map(str, spec.matryoshka))
    if trained:
        return [f"dimensions {dimensions} is not one that {spec.name} was trained for: {trained}, {width}."]
    return [
        f"{spec.name} was not trained to be cut short (Matryoshka): expect worse results with {dimensions} of its "
        f"{width} dimensions."
    ]


def _query_prompt(spec: ModelSpec, instruction: str | None) -> str:
    """The prompt before the query if an embedding model ranks; empty for rerankers.

    InvalidRequestError if the model takes no instruction.
    """
    if spec.kind == "embedding":
        return choose_prompt(spec, input_type="query", instruction=instruction)
    if instruction is not None:
        refuse_instruction(spec)
    return ""


def _reranker(model: LoadedModel, query_prompt: str) -> Reranker:
    """The model's reranker; an embedding model ranks by cosine."""
    if not isinstance(model.runner, EmbeddingRunner):
        return model.runner
    document_prompt = choose_prompt(model.spec, input_type="document")
    return CosineReranker(model.runner, query_prompt=query_prompt, document_prompt=document_prompt)
