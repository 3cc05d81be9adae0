"""What all API dialects share: embed, rank and count. Parameters in, a result out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from api.access_log import record_model, record_result
from api.by_name import ByName
from api.counting import Counting
from api.cross_site import may_import
from api.field_types import check_count, check_pair
from api.outputs import Strings
from api.params import EmbeddingParams, RerankParams
from errors import InvalidRequestError, RouteNotFoundError, WrongModelKindError
from models.catalog import ModelSpec, Side
from models.prompts import choose_prompt, refuse_instruction
from runners.contracts import QUERY, EmbeddingResult, Reranker, RerankResult, TruncatedInput
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel, Pool
from runners.rerank import embedding_reranker
from settings import Settings, Task


@dataclass(slots=True)
class Embedded:
    """Vectors, the model's name as in the request, and warnings for the client."""

    result: EmbeddingResult
    model: str
    warnings: list[str]
    strings: Strings | None = None
    """Token ids -> strings, if the request wants the tokens."""


@dataclass(slots=True)
class Ranked:
    """Scores, the results as (index, score) from best to worst, and warnings for the client."""

    result: RerankResult
    order: list[tuple[int, float]]
    model: str
    warnings: list[str]


class Work:
    """Embeds, ranks and counts with the models of one pool."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self.pool = pool
        self.settings = settings
        self.by_name = ByName(pool, settings)
        self.counting = Counting(pool, self.by_name, settings)

    async def embed(self, params: EmbeddingParams) -> Embedded:
        """Embed texts or token ids."""
        self._require("embeddings")
        options = params.options
        name = params.model or self.settings.embedding_model_name
        check_count(len(params.inputs), self.settings.max_inputs, options.input_name, "MAX_INPUTS")
        spec, suffix = await self._embedding_model(name)
        prompt = choose_prompt(
            spec,
            input_type=options.input_type,
            prompt_name=options.prompt_name,
            instruction=options.instruction,
            suffix=suffix,
        )
        async with self.pool.use(spec, may_import=may_import()) as model:
            assert isinstance(model.runner, EmbeddingRunner)
            if "states" in options.outputs and model.runner.outputs == ("multi_vector",):
                options = replace(options, outputs=("multi_vector",))  # it has no pooling
            result = await model.runner.embed(
                params.inputs, options, prompt=prompt, max_numbers=self.settings.max_output_numbers
            )
            width = model.runner.dimensions
            strings = model.runner.engine.tokenizer.pieces if params.return_tokens else None
        _record(spec, len(params.inputs), result)
        warnings = [
            *params.warnings,
            *_empty_warning(params),
            *_width_warnings(spec, options.dimensions, width),
            *truncation_warnings(result.truncated, options.input_name),
        ]
        return Embedded(result, name, warnings, strings)

    async def load(self, name: str | None) -> None:
        """Load an embedding model, imported first if necessary. None: the default model."""
        self._require("embeddings")
        spec, _ = await self._embedding_model(name or self.settings.embedding_model_name)
        async with self.pool.use(spec, may_import=may_import()):
            pass

    async def rank(self, params: RerankParams) -> Ranked:
        """Score documents by their relevance to a query."""
        self._require("rerank")
        options, documents = params.options, params.documents
        name = params.model or self.settings.reranker_model_name
        check_count(len(documents), self.settings.max_documents, options.documents_name, "MAX_DOCUMENTS")
        if options.top_n is not None and options.top_n < 0:
            raise InvalidRequestError("top_n must be 0 or more; 0 and null return all results.", param="top_n")
        check_pair(params.query, documents, "query", options.documents_name)
        spec, _ = await self._resolve(name, self.settings.reranker_model_name)
        record_model(spec.name)
        query_prompt = _query_prompt(spec, options.instruction)
        async with self.pool.use(spec, may_import=may_import()) as model:
            result = await _reranker(model, query_prompt).rerank(params.query, documents, options)
        _record(spec, len(documents), result)
        order = ranked(result, top_n=options.top_n, raw_scores=options.raw_scores)
        warnings = [*params.warnings, *truncation_warnings(result.truncated, options.documents_name)]
        return Ranked(result, order, name, warnings)

    async def _embedding_model(self, name: str) -> tuple[ModelSpec, Side | None]:
        """The embedding model of a request, and the side that its name selects."""
        spec, suffix = await self._resolve(name, self.settings.embedding_model_name)
        if spec.kind != "embedding":
            raise WrongModelKindError(
                f"{spec.name} is a reranker and cannot embed texts. GET /models lists the embedding models.",
                param="model",
            )
        record_model(spec.name)
        return spec, suffix

    async def _resolve(self, name: str, default: str) -> tuple[ModelSpec, Side | None]:
        """The model that a request names. Clients of text-embeddings-inference, which has one model, name it `tei`."""
        unlisted = name.lower() == "tei" and name not in self.pool.catalog
        return await self.by_name.resolve(default if unlisted else name)

    def _require(self, task: Task) -> None:
        """RouteNotFoundError if this process does not serve the task."""
        if task not in self.settings.serve_tasks:
            tasks = ", ".join(self.settings.serve_tasks)
            raise RouteNotFoundError(
                f"This process serves only {tasks} (SERVE_TASKS). Send the request to a process that serves {task}."
            )


def ranked(result: RerankResult, *, top_n: int | None, raw_scores: bool = False) -> list[tuple[int, float]]:
    """Index and score of each document, best first; equal scores keep the order of the documents.

    `top_n` limits their number; None or 0: all.
    """
    scores = result.raw if raw_scores else result.scores
    order = np.argsort(-scores, kind="stable")[: top_n or None]
    return [(int(index), float(scores[index])) for index in order]


def _record(spec: ModelSpec, texts: int, result: EmbeddingResult | RerankResult) -> None:
    """Record the result for the request's log line, metrics and headers."""
    record_result(
        model=spec.name,
        texts=texts,
        tokens=result.prompt_tokens,
        truncated=len(result.truncated),
        timings=result.timings,
    )


def _empty_warning(params: EmbeddingParams) -> list[str]:
    """The warning for an empty text."""
    if "" not in params.inputs:
        return []
    name = params.options.input_name
    return [f"{name} is empty: the vector represents only the model's special tokens."]


def _width_warnings(spec: ModelSpec, dimensions: int | None, width: int) -> list[str]:
    """The warning for a number of dimensions that the model was not trained for."""
    if dimensions is None or dimensions == width or dimensions in spec.matryoshka:
        return []
    trained = ", ".join(map(str, spec.matryoshka))
    if trained:
        return [f"{spec.name} was not trained for {dimensions} dimensions, but for {trained} and {width}."]
    return [
        f"{spec.name} was not trained for truncated vectors (Matryoshka): expect worse results with {dimensions} of "
        f"its {width} dimensions."
    ]


def truncation_warnings(truncated: Sequence[TruncatedInput], inputs_name: str) -> list[str]:
    """One sentence for each truncated input, with its index and both numbers of tokens."""
    return [
        _truncation_warning(each, "query" if each.index == QUERY else f"{inputs_name}.{each.index}")
        for each in truncated
    ]


def _truncation_warning(truncated: TruncatedInput, name: str) -> str:
    count = f"{'' if truncated.exact else 'more than '}{truncated.tokens} tokens"
    if truncated.by == "bytes":
        return f"{name} was read up to the limit of MAX_TEXT_BYTES, which is {truncated.tokens} tokens."
    if truncated.by == "query":
        return f"{name} was cut from {count} to {truncated.kept}, half of the tokens that fit beside the prompt."
    limit = "the model's limit" if truncated.by == "model" else "the request's max_tokens_per_doc"
    return f"{name} was cut from {count} to {limit} of {truncated.kept}."


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
    """The model's reranker; an embedding model ranks by its vectors."""
    assert model.runner is not None
    if not isinstance(model.runner, EmbeddingRunner):
        return model.runner
    document_prompt = choose_prompt(model.spec, input_type="document")
    return embedding_reranker(model.runner, query_prompt=query_prompt, document_prompt=document_prompt)
