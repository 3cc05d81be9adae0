"""What the service says about itself and its models: probes, /health, /models and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field
from starlette.responses import PlainTextResponse, Response
from typing_extensions import TypedDict

import metrics_files
from api.context import Context
from api.responses import Answer, answer
from api.routing import Request
from errors import ModelUnavailableError
from models.catalog import ModelSpec, Output
from models.facts import ModelFacts, Verification
from runners.loaded_model import InMemory, State, Status


class Health(TypedDict):
    """The state of the process."""

    status: Annotated[Literal["healthy"], Field(description="Always healthy.")]
    platform: Annotated[str, Field(description="cpu, cuda or rocm.")]
    device: Annotated[str, Field(description="The device, as torch names it.")]
    models_loaded: Annotated[list[str], Field(description="Short names of the models in memory.")]


class RequestLimits(TypedDict):
    """Limits of one request."""

    max_inputs: Annotated[int, Field(description="Texts in an embedding request.")]
    max_documents: Annotated[int, Field(description="Documents in a rerank request.")]
    max_body_bytes: Annotated[int, Field(description="Size of a body.")]


ModelStateName = Annotated[State, Field(description="What the service can do with the model now.")]
MemoryBytes = Annotated[int | None, Field(description="Memory that it takes; null if it is not loaded.")]


class Verified(TypedDict):
    """The comparison of a stored model with its reference, at its import."""

    by: Annotated[str | None, Field(description="The reference and its version; null if there was none.")]
    at: Annotated[str, Field(description="Time of the comparison, in ISO 8601.")]
    texts: Annotated[int, Field(description="Number of texts or pairs that were compared.")]
    lowest_cosine: Annotated[
        float | None, Field(description="Of a vector and the reference's, in float32; null for a reranker.")
    ]
    largest_difference: Annotated[
        float | None,
        Field(description="Of a score, relative to the spread of the scores; null for an embedding model."),
    ]
    problem: Annotated[str | None, Field(description="Why there is no comparison; null if there is one.")]


class Model(TypedDict):
    """The facts about one model."""

    id: Annotated[str, Field(description="Short name.")]
    full_name: Annotated[str, Field(description="Name on the Hub.")]
    aliases: Annotated[tuple[str, ...], Field(description="Other names.")]
    kind: Annotated[Literal["embedding", "reranker"], Field(description="What it does.")]
    group: Annotated[str, Field(description="Section of the catalogue.")]
    languages: Annotated[tuple[str, ...], Field(description="Language codes, or multilingual.")]
    tasks: Annotated[list[str], Field(description="The requests that may name it.")]
    state: ModelStateName
    detail: Annotated[str | None, Field(description="Why it is unavailable or failed to load.")]
    import_progress: Annotated[float | None, Field(description="From 0 to 1 during an import.")]
    backend: Annotated[str | None, Field(description="Engine that runs it; null if it is not loaded.")]
    tokens_per_s: Annotated[
        dict[str, float], Field(description="Speed of each engine on this processor, measured at import; may be empty.")
    ]
    dtype: Annotated[str | None, Field(description="Data type of the computation: float32, bfloat16, float16 or int8.")]
    weights_dtype: Annotated[str | None, Field(description="Data type of the weights in memory.")]
    memory_bytes: MemoryBytes
    max_tokens: Annotated[int | None, Field(description="Maximum number of tokens in a text.")]
    dimensions: Annotated[int | None, Field(description="Dimensions of its vectors.")]
    outputs: Annotated[
        tuple[Output, ...] | None,
        Field(description="What it returns for a text; null if that is unknown before the import."),
    ]
    matryoshka_dimensions: Annotated[
        tuple[int, ...], Field(description="Fewer dimensions that it was trained for (Matryoshka).")
    ]
    pooling: Annotated[str | None, Field(description="How token vectors become one vector.")]
    normalized_by_authors: Annotated[bool, Field(description="Whether its authors normalize the vectors.")]
    prompts: Annotated[dict[str, str], Field(description="Prompts by name.")]
    instruction: Annotated[str | None, Field(description="Default task instruction.")]
    license: Annotated[str, Field(description="SPDX identifier, or the name of the licence.")]
    commercial_use: Annotated[bool | None, Field(description="Whether the licence allows commercial use.")]
    parameters: Annotated[int | None, Field(description="Number of parameters.")]
    download_bytes: Annotated[int | None, Field(description="Size of the download.")]
    stored_bytes: Annotated[int | None, Field(description="Size of the stored weights; null if it is not stored.")]
    revision: Annotated[str | None, Field(description="Revision on the Hub.")]
    requires: Annotated[tuple[str, ...], Field(description="Python packages that it needs.")]
    verified: Annotated[
        Verified | None, Field(description="What verified the stored model; null if it is not stored, or not verified.")
    ]
    warning: Annotated[
        str | None, Field(description="Why sentence-transformers runs the model, which is slower; null if it does not.")
    ]
    note: Annotated[str, Field(description="Further facts.")]


class Models(TypedDict):
    """All models, and the limits of the service."""

    default_embedding_model: Annotated[str, Field(description="Model of embedding requests that name none.")]
    default_reranker_model: Annotated[str, Field(description="Model of rerank requests that name none.")]
    tasks: Annotated[tuple[str, ...], Field(description="What this process serves: embeddings, rerank or both.")]
    limits: RequestLimits
    playground: Annotated[bool, Field(description="Whether /playground is served.")]
    admin: Annotated[bool, Field(description="Whether requests may load, unload and import models.")]
    models: Annotated[list[Model], Field(description="In the order of the catalogue.")]


async def health(context: Context, _: Request) -> Answer[Health]:
    """GET /health."""
    device = context.device
    return answer(
        {
            "status": "healthy",
            "platform": device.platform,
            "device": device.torch_name,
            "models_loaded": sorted(await context.pool.in_memory()),
        }
    )


async def alive(context: Context, _: Request) -> Response:
    """GET /livez and /healthz: 503 if the process must be restarted."""
    return _probe(context.pool.alive, "The service is stuck and must be restarted.")


async def ready(context: Context, _: Request) -> Response:
    """GET /readyz: 200 once the models of PRELOAD_MODELS are loaded."""
    return _probe(context.is_ready(), "The service is not ready: it is starting or shutting down.")


def _probe(passed: bool, problem: str) -> Response:
    if not passed:
        raise ModelUnavailableError(problem)
    return PlainTextResponse("\n")


async def metrics(_context: Context, _: Request) -> Response:
    """GET /metrics."""
    return Response(await asyncio.to_thread(metrics_files.gather), media_type=CONTENT_TYPE_LATEST)


async def models(context: Context, _: Request) -> Answer[Models]:
    """GET /models."""
    loaded = await context.pool.in_memory()
    specs = list(context.catalog)  # imports add models to it
    statuses = list(zip(specs, await context.pool.statuses(specs), strict=True))
    return answer(await asyncio.to_thread(_models, context, loaded, statuses))


def _models(context: Context, loaded: Mapping[str, InMemory], statuses: Sequence[tuple[ModelSpec, Status]]) -> Models:
    settings = context.settings
    return {
        "default_embedding_model": settings.embedding_model_name,
        "default_reranker_model": settings.reranker_model_name,
        "tasks": settings.serve_tasks,
        "limits": {
            "max_inputs": settings.max_inputs,
            "max_documents": settings.max_documents,
            "max_body_bytes": settings.max_body_bytes,
        },
        "playground": settings.playground,
        "admin": settings.admin,
        "models": list(_facts(context, loaded, statuses)),
    }


def _facts(
    context: Context, loaded: Mapping[str, InMemory], statuses: Sequence[tuple[ModelSpec, Status]]
) -> Iterator[Model]:
    from runners.loading import measured_speeds  # imports the engines; the parent process must not

    for spec, status in statuses:
        stored = context.store.find(spec)
        facts = stored.facts if stored else None
        model = loaded.get(spec.name)
        yield {
            "id": spec.name,
            "full_name": spec.repo,
            "aliases": spec.aliases,
            "kind": spec.kind,
            "group": spec.group,
            "languages": spec.languages,
            "tasks": ["embedding", "rerank (cosine)"] if spec.kind == "embedding" else ["rerank"],
            "state": status.state,
            "detail": status.detail or None,
            "import_progress": status.progress,
            "backend": model.backend if model else None,
            "tokens_per_s": measured_speeds(stored, context.device, context.settings) if stored else {},
            "dtype": model.dtype if model else None,
            "weights_dtype": model.weights_dtype if model else None,
            "memory_bytes": model.memory_bytes if model else None,
            "max_tokens": facts.max_tokens if facts else spec.max_tokens,
            "dimensions": facts.dimensions if facts else spec.dimensions,
            "outputs": facts.outputs if facts else spec.outputs if spec.outputs or spec.kind == "reranker" else None,
            "matryoshka_dimensions": spec.matryoshka,
            "pooling": facts.pooling if facts else spec.pooling,
            "normalized_by_authors": spec.normalized,
            "prompts": spec.prompts,
            "instruction": spec.instruction,
            "license": spec.license,
            "commercial_use": spec.commercial,
            "parameters": facts.parameters if facts else spec.parameters,
            "download_bytes": spec.download_bytes,
            "stored_bytes": facts.weight_bytes if facts else None,
            "revision": facts.revision if facts else spec.revision,
            "requires": spec.requires,
            "verified": _verified(facts.verification) if facts and facts.verification else None,
            "warning": _warning(facts) if facts and facts.engine_reason else None,
            "note": spec.note,
        }


def _verified(found: Verification) -> Verified:
    return {
        "by": found.by or None,
        "at": found.at,
        "texts": found.texts,
        "lowest_cosine": found.lowest_cosine,
        "largest_difference": found.largest_difference,
        "problem": found.problem or None,
    }


def _warning(facts: ModelFacts) -> str:
    return f"Run by sentence-transformers, which is slower: {facts.engine_reason}"
