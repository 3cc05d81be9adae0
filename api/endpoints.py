"""What every route does, whichever service's words it is asked in: an ask in, a result out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.access_log import record_model, record_result
from api.asks import EmbeddingAsk, RerankAsk
from api.callers import is_litellm, reads_objects
from api.counting import Counting
from api.cross_site import may_import
from api.fields import at_most
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
from runners.embedding import EmbeddingResult, EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.pool.model_pool import ModelPool
from runners.rerank import CosineReranker, Reranker, RerankOptions, RerankResult, RerankRunner
from settings import Settings, Task

_MANY_IDS = 2_000
"""Token ids in a request from which they are decoded off the event loop."""


@dataclass(frozen=True)
class Embedded:
    """Vectors, the model's name as the request said it, and what the client should know."""

    result: EmbeddingResult
    model: str
    warnings: list[str]


@dataclass(frozen=True)
class Ranked:
    """Scores, the best results as (index, score), and what the client should know."""

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
        ask = await asyncio.to_thread(request.ask, most) if many else request.ask(most)
        output_type, encoding = request.output_type, request.encoding
        embedded = await self.embed(ask)
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
        ask, as_objects = request.ask(), reads_objects(headers)
        documents = await returned(request.documents, as_objects) if request.return_documents else None
        answer = await self.rank(ask)
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
            large=documents is not None and sum(map(len, ask.documents)) >= LARGE_ANSWER,
        )

    async def tokenize(self, request: TokenizeRequest) -> Response:
        """POST /v1/tokenize."""
        ask = request.ask()
        found = await self.counting.count(ask)
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
        return json_response(answer | ({"warnings": ask.warnings} if ask.warnings else {}))

    async def embed(self, ask: EmbeddingAsk) -> Embedded:
        """Inputs to vectors."""
        self._require("embeddings")
        name = ask.model or self.settings.embedding_model_name
        at_most(len(ask.inputs), self.settings.max_inputs, ask.field, "MAX_INPUTS")
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
            input_type=ask.input_type,
            prompt_name=ask.prompt_name,
            instruction=ask.instruction,
            suffix=suffix,
        )
        async with self._pool.use(spec, may_import=may_import()) as model:
            assert isinstance(model.runner, EmbeddingRunner)
            result = await model.runner.embed(
                ask.inputs,
                prompt=prompt,
                dimensions=ask.dimensions,
                truncate=ask.truncate,
                normalized=ask.normalized,
                field=ask.field,
                width_field=ask.width_field,
                priority=ask.priority,
            )
            whole = model.runner.dimensions
        _note(spec, len(ask.inputs), result)
        warnings = truncation_warnings(result.truncations, ask.field)
        known = [*ask.warnings, *_empty_warning(ask), *_width_warnings(spec, ask.dimensions, whole)]
        return Embedded(result, name, [*known, *warnings])

    async def rank(self, ask: RerankAsk) -> Ranked:
        """A query and documents to scores."""
        self._require("rerank")
        name = ask.model or self.settings.reranker_model_name
        at_most(len(ask.documents), self.settings.max_documents, ask.field, "MAX_DOCUMENTS")
        if ask.top_n is not None and ask.top_n < 0:
            raise InvalidRequestError("top_n must be 0 or more; 0 and null mean all.", param="top_n")
        _refuse_two_empty(ask)
        spec, _ = self._pool.catalog.resolve(name)
        record_model(spec.name)
        query_prompt = _query_prompt(spec, ask.instruction)
        async with self._pool.use(spec, may_import=may_import()) as model:
            options = RerankOptions(ask.truncate, ask.max_document_tokens, ask.field, ask.priority)
            result = await _reranker(model, ask.instruction, query_prompt).rerank(ask.query, ask.documents, options)
        _note(spec, len(ask.documents), result)
        order = ranked(result, top_n=ask.top_n, raw_scores=ask.raw_scores)
        return Ranked(result, order, name, [*ask.warnings, *truncation_warnings(result.truncations, ask.field)])

    def _require(self, task: Task) -> None:
        """RouteNotFoundError where this process leaves the task to others."""
        if task not in self.settings.serve_tasks:
            tasks = ", ".join(self.settings.serve_tasks)
            raise RouteNotFoundError(f"This process serves {tasks} only (SERVE_TASKS). Ask the one that serves {task}.")


def _note(spec: ModelSpec, texts: int, result: EmbeddingResult | RerankResult) -> None:
    """For the request's log line, its metrics and its headers."""
    record_result(
        model=spec.name,
        texts=texts,
        tokens=result.prompt_tokens,
        truncated=len(result.truncations),
        timings=result.timings,
    )


def _refuse_two_empty(ask: RerankAsk) -> None:
    """InvalidRequestError where the query and a document hold nothing to compare."""
    if not ask.query and "" in ask.documents:
        name = f"{ask.field}.{list(ask.documents).index('')}"
        raise InvalidRequestError(f"{name} and query are both empty; one of them must have a text.", param=name)


def _empty_warning(ask: EmbeddingAsk) -> list[str]:
    """What the vector of an empty text is."""
    if "" not in ask.inputs:
        return []
    return [f"{ask.field} is empty: its vector says nothing but what the model puts around a text (special tokens)."]


def _width_warnings(spec: ModelSpec, dimensions: int | None, whole: int) -> list[str]:
    """What cutting vectors costs where the model was not trained for it."""
    if dimensions is None or dimensions == whole or dimensions in spec.matryoshka:
        return []
    trained = ", ".join(map(str, spec.matryoshka))
    if trained:
        return [f"dimensions {dimensions} is not one that {spec.name} was trained for: {trained}, {whole}."]
    return [
        f"{spec.name} was not trained to be cut short (Matryoshka): expect worse results with {dimensions} of its "
        f"{whole} dimensions."
    ]


def _query_prompt(spec: ModelSpec, instruction: str | None) -> str:
    """What stands before the query where an embedding model ranks; empty for rerankers.

    InvalidRequestError where the instruction has no place.
    """
    if spec.kind == "embedding":
        return choose_prompt(spec, input_type="query", instruction=instruction)
    if instruction is not None:
        refuse_instruction(spec)
    return ""


def _reranker(model: LoadedModel, instruction: str | None, query_prompt: str) -> Reranker:
    """The model's own way to rank; an embedding model ranks by cosine."""
    if isinstance(model.runner, RerankRunner) and instruction:
        return RerankRunner(model.runner.engine, instruction)
    if not isinstance(model.runner, EmbeddingRunner):
        return model.runner
    document_prompt = choose_prompt(model.spec, input_type="document")
    return CosineReranker(model.runner, query_prompt=query_prompt, document_prompt=document_prompt)
