"""Ollama's API: /api/embed, /api/embeddings, /api/tags, /api/show, /api/ps and /api/version.

Names of models may end in `:latest`. Errors are `{"error": "..."}`; see api/error_body.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import orjson
from pydantic import BeforeValidator, Field, WithJsonSchema
from typing_extensions import TypedDict

from api.context import Context
from api.encodings import encode_rows
from api.field_types import AnyText, Count, Flag, ModelName, RequestBody, Texts, either
from api.params import EmbeddingParams
from api.responses import Answer, FloatVector, Warnings, answer, write_vectors, written_as
from api.routing import Request
from api.unsupported_fields import EMBEDDING_FIELDS
from api.work import Embedded, Work
from errors import InvalidRequestError
from models.catalog import ModelSpec
from runners.contracts import EmbeddingOptions

VERSION = "0.13.0"
"""The version of Ollama whose API this is."""
_LATEST = ":latest"
_ARCHITECTURE = "transformer"
_NO_TIME = "1970-01-01T00:00:00Z"
_NEVER = "9999-12-31T23:59:59Z"
_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "INT8"}
"""Our name of a data type -> Ollama's."""

# Request bodies


def _as_list(value: object) -> object:
    """A text as a list. As with Ollama, an empty text means no text."""
    if value == "":
        return []
    return [value] if isinstance(value, str) else value


OneOrMoreTexts = Annotated[
    Texts,
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string", "minLength": 1}}]}),
]


class OllamaRequest(RequestBody):
    """The fields of all requests that run a model."""

    unsupported: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description="Name of an embedding model.")
    options: dict[str, Any] | None = Field(
        None, description="Accepted for compatibility. num_ctx is not applied; there is a warning if it matters."
    )
    keep_alive: str | float | None = Field(
        None, description="Accepted for compatibility; not used. IDLE_UNLOAD_S sets when models are unloaded."
    )

    async def vectors(self, work: Work, texts: list[str], options: EmbeddingOptions) -> Embedded:
        """The vectors of texts, and the warning that Ollama might have truncated them earlier."""
        embedded = await work.embed(EmbeddingParams(served_name(self.model), texts, options, self.warnings()))
        limit = (self.options or {}).get("num_ctx")
        if isinstance(limit, int) and embedded.result.prompt_tokens > limit:
            embedded.warnings.append("options.num_ctx is not applied: texts are truncated only at the model's limit.")
        return embedded


class OllamaEmbedRequest(OllamaRequest):
    """POST /api/embed."""

    input: OneOrMoreTexts | None = Field(
        None, description="A text or a list of texts. Without a text, the model is loaded."
    )
    truncate: Flag | None = Field(
        None, description="false: reject texts that are too long (400). Default: truncate them."
    )
    dimensions: Count | None = Field(None, description="Truncate the vectors to this many dimensions. 0: do not.")


class OllamaEmbeddingsRequest(OllamaRequest):
    """POST /api/embeddings, the older form of /api/embed."""

    prompt: AnyText | None = Field(None, description="The text. Without a text, the model is loaded.")


class OllamaShowRequest(RequestBody):
    """POST /api/show."""

    model: ModelName | None = Field(None, description="Name of an embedding model.")
    name: ModelName | None = Field(None, description="The older name of model.")
    verbose: Flag | None = Field(None, description="Accepted for compatibility; not used.")


def served_name(model: str | None) -> str | None:
    """The name without Ollama's `:latest`."""
    return model[: -len(_LATEST)] if model is not None and model.lower().endswith(_LATEST) else model


# Answers


class OllamaEmbeddings(TypedDict):
    """Vectors in the order of the texts."""

    model: Annotated[str, Field(description="Name of the model, as in the request.")]
    embeddings: Annotated[list[FloatVector], Field(description="One vector of length 1 for each text.")]
    total_duration: Annotated[int, Field(description="Time of the request in nanoseconds.")]
    load_duration: Annotated[int, Field(description="Always 0; total_duration includes loading.")]
    prompt_eval_count: Annotated[int, Field(description="Number of tokens that the model read.")]
    warnings: NotRequired[Warnings]


class OllamaEmbedding(TypedDict):
    """The vector of the prompt."""

    embedding: Annotated[
        orjson.Fragment, written_as(list[float]), Field(description="A vector of length 1; empty without a prompt.")
    ]
    warnings: NotRequired[Warnings]


class OllamaDetails(TypedDict):
    """Facts about a model's file."""

    parent_model: Annotated[Literal[""], Field(description="Always empty.")]
    format: Annotated[Literal["safetensors"], Field(description="Always safetensors.")]
    family: Annotated[str, Field(description="Always transformer.")]
    families: Annotated[list[str], Field(description="Always transformer.")]
    parameter_size: Annotated[str, Field(description="Number of parameters; empty if unknown.")]
    quantization_level: Annotated[str, Field(description="Data type of the weights in memory; empty if not loaded.")]


class OllamaModel(TypedDict):
    """One model."""

    name: Annotated[str, Field(description="Short name and :latest.")]
    model: Annotated[str, Field(description="The same name.")]
    size: Annotated[int, Field(description="Size in bytes of the download, or of a loaded model in memory.")]
    digest: Annotated[str, Field(description="Revision on the Hub; may be empty.")]
    details: OllamaDetails


class OllamaListedModel(OllamaModel):
    """One embedding model."""

    modified_at: Annotated[str, Field(description="Always the start of 1970.")]


class OllamaModels(TypedDict):
    """All embedding models."""

    models: Annotated[list[OllamaListedModel], Field(description="In the order of the catalogue.")]


class OllamaLoadedModel(OllamaModel):
    """One embedding model in memory."""

    expires_at: Annotated[str, Field(description="Always the end of the year 9999.")]
    size_vram: Annotated[int, Field(description="Size in the memory of the GPU.")]


class OllamaLoadedModels(TypedDict):
    """The embedding models in memory."""

    models: Annotated[list[OllamaLoadedModel], Field(description="In the order of the catalogue.")]


class OllamaFacts(TypedDict):
    """The facts about one model."""

    license: Annotated[str, Field(description="SPDX identifier, or the name of the licence.")]
    modelfile: Annotated[Literal[""], Field(description="Always empty.")]
    parameters: Annotated[Literal[""], Field(description="Always empty.")]
    template: Annotated[Literal["{{ .Prompt }}"], Field(description="Texts are embedded without a prompt.")]
    details: OllamaDetails
    model_info: Annotated[dict[str, str | int], Field(description="Numbers of parameters, tokens and dimensions.")]
    capabilities: Annotated[list[Literal["embedding"]], Field(description="What the model does.")]
    modified_at: Annotated[str, Field(description="Always the start of 1970.")]


class OllamaVersion(TypedDict):
    """The version of the API."""

    version: Annotated[str, Field(description="The version of Ollama whose API this is.")]


# Handlers


async def embed(work: Work, request: OllamaEmbedRequest, _: Mapping[str, str]) -> Answer[OllamaEmbeddings]:
    """POST /api/embed."""
    started = time.perf_counter()
    content: OllamaEmbeddings = {
        "model": request.model or work.settings.embedding_model_name,
        "embeddings": [],
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": 0,
    }
    if not request.input:
        await work.load(served_name(request.model))
        return answer(content)
    options = EmbeddingOptions(
        dimensions=request.dimensions or None, truncate="refuse" if request.truncate is False else "end"
    )
    embedded = await request.vectors(work, request.input, options)

    def filled() -> OllamaEmbeddings:
        content["embeddings"] = encode_rows(embedded.result.dense)
        content["total_duration"] = round((time.perf_counter() - started) * 1e9)
        content["prompt_eval_count"] = embedded.result.prompt_tokens
        if embedded.warnings:
            content["warnings"] = embedded.warnings
        return content

    return await write_vectors(embedded.result, filled)


async def embeddings(work: Work, request: OllamaEmbeddingsRequest, _: Mapping[str, str]) -> Answer[OllamaEmbedding]:
    """POST /api/embeddings."""
    if not request.prompt:
        await work.load(served_name(request.model))
        return answer({"embedding": orjson.Fragment(b"[]")})
    embedded = await request.vectors(work, [request.prompt], EmbeddingOptions(input_name="prompt"))
    content: OllamaEmbedding = {"embedding": encode_rows(embedded.result.dense)[0]}
    if embedded.warnings:
        content["warnings"] = embedded.warnings
    return answer(content)


async def show(work: Work, request: OllamaShowRequest, _: Mapping[str, str]) -> Answer[OllamaFacts]:
    """POST /api/show."""
    name = served_name(either(request.model, request.name, "model and name"))
    if name is None:
        raise InvalidRequestError("model: Field required.", param="model")
    spec, _suffix = work.pool.catalog.resolve(name)
    info = {
        "general.architecture": _ARCHITECTURE,
        "general.parameter_count": spec.parameters,
        f"{_ARCHITECTURE}.context_length": spec.max_tokens,
        f"{_ARCHITECTURE}.embedding_length": spec.dimensions,
    }
    return answer(
        {
            "license": spec.license,
            "modelfile": "",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _details(spec),
            "model_info": {name: value for name, value in info.items() if value is not None},
            "capabilities": ["embedding"] if spec.kind == "embedding" else [],
            "modified_at": _NO_TIME,
        },
        request.warnings(),
    )


async def tags(context: Context, _: Request) -> Answer[OllamaModels]:
    """GET /api/tags: the embedding models, because Ollama's API does not rank."""
    models: list[OllamaListedModel] = [
        {**_model(spec, spec.download_bytes or 0), "modified_at": _NO_TIME}
        for spec in context.catalog
        if spec.kind == "embedding"
    ]
    return answer({"models": models})


async def loaded(context: Context, _: Request) -> Answer[OllamaLoadedModels]:
    """GET /api/ps: the embedding models in memory."""
    on_gpu = context.device.platform != "cpu"
    in_memory = await context.pool.in_memory()
    models: list[OllamaLoadedModel] = [
        {
            **_model(spec, model.memory_bytes, model.weights_dtype),
            "expires_at": _NEVER,
            "size_vram": model.memory_bytes if on_gpu else 0,
        }
        for spec in context.catalog
        if spec.kind == "embedding" and (model := in_memory.get(spec.name))
    ]
    return answer({"models": models})


async def version(_context: Context, _: Request) -> Answer[OllamaVersion]:
    """GET /api/version."""
    return answer({"version": VERSION})


def _model(spec: ModelSpec, size: int, dtype: str | None = None) -> OllamaModel:
    name = f"{spec.name}{_LATEST}"
    return {"name": name, "model": name, "size": size, "digest": spec.revision or "", "details": _details(spec, dtype)}


def _details(spec: ModelSpec, dtype: str | None = None) -> OllamaDetails:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": _ARCHITECTURE,
        "families": [_ARCHITECTURE],
        "parameter_size": f"{spec.parameters / 1e6:.0f}M" if spec.parameters else "",
        "quantization_level": _DTYPES.get(dtype or "", ""),
    }
