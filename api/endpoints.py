"""What each POST route does: a checked body in, bytes out."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import Response

from api.responses import embedding_bytes, rerank_bytes
from api.schemas import EmbeddingRequest, RerankRequest
from errors import InvalidRequestError, WrongModelKindError
from models.catalog import ModelSpec
from models.prompts import choose_prompt, refuse_instruction
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.model_pool import ModelPool
from runners.rerank import CosineReranker, Reranker, RerankRunner
from settings import Settings

_LARGE_ANSWER = 65_536
"""Numbers in an answer from which its bytes are made off the event loop."""


class Endpoints:
    """The POST routes over one pool of models."""

    def __init__(self, pool: ModelPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def embeddings(self, request: EmbeddingRequest) -> Response:
        """POST /v1/embeddings."""
        name = request.model or self._settings.embedding_model_name
        self._at_most(len(request.input), self._settings.max_inputs, "input", "MAX_INPUTS")
        spec, suffix = self._pool.catalog.resolve(name)
        if spec.kind != "embedding":
            raise WrongModelKindError(
                f"{spec.name} is a reranker: it scores pairs and makes no vectors. GET /models lists the embedding "
                "models.",
                param="model",
            )
        prompt = choose_prompt(
            spec,
            input_type=request.input_type,
            prompt_name=request.prompt_name,
            instruction=request.instruction,
            suffix=suffix,
        )
        async with self._pool.use(spec) as model:
            assert isinstance(model.runner, EmbeddingRunner)
            result = await model.runner.embed(
                request.input,
                prompt=prompt,
                dimensions=request.dimensions,
                truncate_inputs=request.truncate is not False,
            )
        encoding_format = request.encoding_format or "float"
        if result.vectors.size < _LARGE_ANSWER:
            body = embedding_bytes(result, model=name, encoding_format=encoding_format)
        else:
            body = await asyncio.to_thread(embedding_bytes, result, model=name, encoding_format=encoding_format)
        return Response(body, media_type="application/json")

    async def rerank(self, request: RerankRequest) -> Response:
        """POST /v1/rerank."""
        started = time.perf_counter()
        name = request.model or self._settings.reranker_model_name
        self._at_most(len(request.documents), self._settings.max_documents, "documents", "MAX_DOCUMENTS")
        if request.top_n is not None and request.top_n < 0:
            raise InvalidRequestError("top_n must be 0 or more; 0 and null mean all.", param="top_n")
        spec, _ = self._pool.catalog.resolve(name)
        query_prompt = _query_prompt(spec, request.instruction)
        async with self._pool.use(spec) as model:
            result = await _reranker(model, request.instruction, query_prompt).rerank(
                request.query, request.documents, truncate_inputs=request.truncate is not False
            )
        body = rerank_bytes(
            result,
            model=name,
            documents=request.documents,
            top_n=request.top_n,
            return_documents=bool(request.return_documents),
            processing_time_ms=(time.perf_counter() - started) * 1000,
        )
        return Response(body, media_type="application/json")

    @staticmethod
    def _at_most(count: int, limit: int, field: str, variable: str) -> None:
        if count > limit:
            raise InvalidRequestError(
                f"{field} has {count} items; one request takes at most {limit} ({variable}). Send several requests.",
                param=field,
            )


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
