"""What every route does, whichever service's words it is asked in: an ask in, a result out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from api.access_log import observe, observe_model
from api.asks import EmbeddingAsk, RerankAsk
from api.callers import is_litellm, reads_objects
from api.cross_site import may_import
from api.responses import (
    embedding_bytes,
    json_response,
    ranked,
    rerank_bytes,
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
from runners.model_pool import ModelPool
from runners.plain_tokenizers import Token
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


@dataclass(frozen=True)
class Tokenized:
    """Tokens of each text, their number, and what the model takes."""

    model: str
    counts: list[int]
    tokens: list[list[Token]]
    special_tokens: int
    max_tokens: int


class Endpoints:
    """The POST routes over one pool of models."""

    def __init__(self, pool: ModelPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def embeddings(self, request: EmbeddingRequest) -> Response:
        """POST /v1/embeddings."""
        many = sum(len(each) for each in request.input if isinstance(each, list)) > _MANY_IDS
        ask = await asyncio.to_thread(request.ask) if many else request.ask()
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
        answer = await self.rank(request.ask())
        as_objects = reads_objects(headers)
        documents: list[object] | None = None
        if request.return_documents:
            documents = [{"text": each} if as_objects and isinstance(each, str) else each for each in request.documents]
        body = rerank_bytes(
            answer.result,
            answer.order,
            model=answer.model,
            documents=documents,
            processing_time_ms=(time.perf_counter() - started) * 1000,
            warnings=answer.warnings,
            as_data=request.from_voyage or is_litellm(headers),
            api_version={"version": "1"} if as_objects else "v1",
        )
        return Response(body, media_type="application/json")

    async def tokenize(self, request: TokenizeRequest) -> Response:
        """POST /v1/tokenize."""
        found = await self.count(
            request.model, request.input, field="input", input_type=request.input_type, prompt_name=request.prompt_name
        )
        return json_response(
            {
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
        )

    async def embed(self, ask: EmbeddingAsk) -> Embedded:
        """Inputs to vectors."""
        self._require("embeddings")
        name = ask.model or self._settings.embedding_model_name
        self._at_most(len(ask.inputs), self._settings.max_inputs, ask.field, "MAX_INPUTS")
        spec, suffix = self._pool.catalog.resolve(name)
        if spec.kind != "embedding":
            raise WrongModelKindError(
                f"{spec.name} is a reranker: it scores pairs and makes no vectors. GET /models lists the embedding "
                "models.",
                param="model",
            )
        observe_model(spec.name)
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
        return Embedded(result, name, [*_width_warnings(spec, ask.dimensions, whole), *warnings])

    async def rank(self, ask: RerankAsk) -> Ranked:
        """A query and documents to scores."""
        self._require("rerank")
        name = ask.model or self._settings.reranker_model_name
        self._at_most(len(ask.documents), self._settings.max_documents, ask.field, "MAX_DOCUMENTS")
        if ask.top_n is not None and ask.top_n < 0:
            raise InvalidRequestError("top_n must be 0 or more; 0 and null mean all.", param="top_n")
        spec, _ = self._pool.catalog.resolve(name)
        observe_model(spec.name)
        query_prompt = _query_prompt(spec, ask.instruction)
        async with self._pool.use(spec, may_import=may_import()) as model:
            options = RerankOptions(ask.truncate, ask.max_document_tokens, ask.field, ask.priority)
            result = await _reranker(model, ask.instruction, query_prompt).rerank(ask.query, ask.documents, options)
        _note(spec, len(ask.documents), result)
        order = ranked(result, top_n=ask.top_n, raw_scores=ask.raw_scores)
        return Ranked(result, order, name, truncation_warnings(result.truncations, ask.field))

    async def count(
        self,
        model: str | None,
        inputs: Sequence[str | list[int]],
        *,
        field: str,
        input_type: str | None = None,
        prompt_name: str | None = None,
        spell: bool = False,
        special: bool = True,
    ) -> Tokenized:
        """How many tokens each text has for a model; with `spell` also which ones.

        InvalidRequestError where an input is token ids already.
        """
        texts = [each for each in inputs if isinstance(each, str)]
        if len(texts) < len(inputs):
            raise InvalidRequestError(f"{field} must be a text or a list of texts here.", param=field)
        name = model or self._settings.embedding_model_name
        self._at_most(len(texts), self._settings.max_inputs, field, "MAX_INPUTS")
        spec, suffix = self._pool.catalog.resolve(name)
        prompt = choose_prompt(spec, input_type=input_type, prompt_name=prompt_name, suffix=suffix)
        async with self._pool.use(spec, may_import=may_import()) as loaded:
            if loaded.engine is None:
                raise WrongModelKindError(
                    f"{spec.name} is forwarded; its tokenizer is not here. Name another model.", param="model"
                )
            tokenizer = loaded.engine.tokenizer
            return await loaded.engine.off_the_loop(
                lambda: Tokenized(
                    model=name,
                    counts=tokenizer.count(texts, prompt),
                    tokens=[tokenizer.tokens(text, prompt, special=special) for text in texts] if spell else [],
                    special_tokens=tokenizer.special_tokens,
                    max_tokens=tokenizer.max_tokens,
                )
            )

    def _require(self, task: Task) -> None:
        """RouteNotFoundError where this process leaves the task to others."""
        if task not in self._settings.serve_tasks:
            tasks = ", ".join(self._settings.serve_tasks)
            raise RouteNotFoundError(f"This process serves {tasks} only (SERVE_TASKS). Ask the one that serves {task}.")

    @staticmethod
    def _at_most(count: int, limit: int, field: str, variable: str) -> None:
        if count > limit:
            raise InvalidRequestError(
                f"{field} has {count} items; one request takes at most {limit} ({variable}). Send several requests.",
                param=field,
            )


def _note(spec: ModelSpec, texts: int, result: EmbeddingResult | RerankResult) -> None:
    """For the request's log line, its metrics and its headers."""
    observe(
        model=spec.name,
        texts=texts,
        tokens=result.prompt_tokens,
        truncated=len(result.truncations),
        timings=result.timings,
    )


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
