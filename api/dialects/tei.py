"""The API of text-embeddings-inference, for the default models: /embed, /rerank, /similarity, /tokenize and /info."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import numpy as np
import orjson
from pydantic import BeforeValidator, Field
from typing_extensions import TypeAliasType, TypedDict

from api.context import Context
from api.encodings import encode_rows
from api.field_types import (
    AnyText,
    AnyTexts,
    Flag,
    Inputs,
    Items,
    ModelName,
    Positive,
    RequestBody,
    as_inputs,
    check_pair,
)
from api.params import CountParams, EmbeddingParams, RerankParams
from api.responses import (
    Answer,
    FloatVector,
    Index,
    Score,
    answer,
    are_large,
    write_answer,
    write_vectors,
    written_as,
)
from api.routing import Request
from api.unsupported_fields import EMBEDDING_FIELDS, RERANK_FIELDS
from api.work import Work
from runners.contracts import EmbeddingOptions, RerankOptions, Truncate
from runners.loaded_model import InMemory
from runners.text.plain_tokenizers import Token

VERSION = "1"
_BLOCK_TOKENS = 4_096

# Request bodies

MODEL = "Model to use instead of the default model."
PROMPT_NAME = "Name of one of the model's prompts."


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Direction = Annotated[Literal["left", "right"], BeforeValidator(_lower)]


class TruncationFields(RequestBody):
    """Fields that say what happens to a text that is too long."""

    truncate: Flag | None = Field(
        None, description="false: reject texts that are too long (400). Default: truncate them."
    )
    truncation_direction: Direction | None = Field(None, description="Side that is cut off. Default: right.")

    def truncate_option(self) -> Truncate:
        """The common form."""
        if self.truncate is False:
            return "refuse"
        return "start" if self.truncation_direction == "left" else "end"


class TeiEmbedRequest(TruncationFields):
    """POST /embed, and POST / as the Hub's InferenceClient sends it."""

    unsupported: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description=MODEL)
    inputs: Inputs = Field(description="A text, a list of texts, or token ids in the model's own vocabulary.")
    normalize: Flag | None = Field(
        None, description="false: return the vectors without normalization. Default: vectors of length 1."
    )
    prompt_name: str | None = Field(None, description=PROMPT_NAME)
    dimensions: Positive | None = Field(None, description="Truncate the vectors to this many dimensions.")


Sentences = Annotated[list[AnyText], Items("max_inputs")]


class TeiSentences(RequestBody):
    """The sentences that POST /similarity compares."""

    source_sentence: AnyText = Field(description="Sentence to compare with the others.")
    sentences: Sentences = Field(description="The other sentences.")


class TeiSimilarityParameters(TruncationFields):
    """Options for embedding the sentences of POST /similarity."""

    prompt_name: str | None = Field(None, description=PROMPT_NAME)


class TeiSimilarityRequest(RequestBody):
    """POST /similarity."""

    model: ModelName | None = Field(None, description=MODEL)
    inputs: TeiSentences = Field(description="The sentences to compare.")
    parameters: TeiSimilarityParameters | None = Field(None, description="Options for embedding the sentences.")


class TeiTokenizeRequest(RequestBody):
    """POST /tokenize."""

    model: ModelName | None = Field(None, description=MODEL)
    inputs: Inputs = Field(description="A text or a list of texts.")
    add_special_tokens: Flag | None = Field(
        None, description="Whether to return the model's special tokens as well. Default: true."
    )
    prompt_name: str | None = Field(None, description=PROMPT_NAME)


class TeiRerankRequest(TruncationFields):
    """POST /rerank with `texts`."""

    unsupported: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description=MODEL)
    query: AnyText = Field(description="Query to rank the texts by.")
    texts: AnyTexts = Field(description="Texts to rank.")
    raw_scores: Flag | None = Field(
        None, description="Whether to return the model's own scores instead of scores from 0 to 1."
    )
    return_text: Flag | None = Field(None, description="Whether results include their texts. Default: false.")


# Answers

Vectors = TypeAliasType("Vectors", Annotated[list[FloatVector], Field(description="One vector for each input.")])
Similarities = TypeAliasType(
    "Similarities", Annotated[list[float], Field(description="One cosine similarity for each sentence.")]
)


class TeiRankedText(TypedDict):
    """The score of one text."""

    index: Index
    score: Score
    text: NotRequired[Annotated[str, Field(description="The text, if return_text is true.")]]


TeiRanking = TypeAliasType(
    "TeiRanking",
    Annotated[
        list[TeiRankedText], Field(description="Best first. Texts with equal scores keep the order of the request.")
    ],
)


class TeiToken(TypedDict):
    """One token."""

    id: Annotated[int, Field(description="Id in the model's vocabulary.")]
    text: Annotated[str, Field(description="The part of the text, or the name of a special token.")]
    special: Annotated[bool, Field(description="Whether it is a special token that the model adds.")]
    start: Annotated[int | None, Field(description="Index of its first character; null if unknown.")]
    stop: Annotated[int | None, Field(description="Index after its last character; null if unknown.")]


Tokens = TypeAliasType(
    "Tokens",
    Annotated[
        list[Annotated[orjson.Fragment, written_as(list[TeiToken])]],
        Field(description="A list of tokens for each text."),
    ],
)


class Info(TypedDict):
    """Facts about the default model."""

    model_id: Annotated[str, Field(description="Full name on the Hub.")]
    model_sha: Annotated[str | None, Field(description="Revision.")]
    model_dtype: Annotated[str | None, Field(description="Data type of the computation; null before the import.")]
    model_type: Annotated[dict[str, Any], Field(description="embedding with its pooling, or reranker with its labels.")]
    max_input_length: Annotated[int | None, Field(description="Maximum number of tokens in a text.")]
    max_batch_tokens: Annotated[int, Field(description="MAX_BATCH_TOKENS.")]
    max_client_batch_size: Annotated[int, Field(description="MAX_INPUTS.")]
    auto_truncate: Annotated[bool, Field(description="Always true: texts that are too long are truncated.")]
    version: Annotated[str, Field(description="Version of this API.")]


# Handlers


async def embed(work: Work, request: TeiEmbedRequest, _: Mapping[str, str]) -> Answer[Vectors]:
    """POST /embed."""
    options = EmbeddingOptions(
        prompt_name=request.prompt_name,
        dimensions=request.dimensions,
        truncate=request.truncate_option(),
        normalized=request.normalize is not False,
        input_name="inputs",
    )
    params = EmbeddingParams(request.model, as_inputs(request.inputs), options, request.warnings())
    embedded = await work.embed(params)
    return await write_vectors(embedded.result, lambda: encode_rows(embedded.result.dense), embedded.warnings)


async def similarity(work: Work, request: TeiSimilarityRequest, _: Mapping[str, str]) -> Answer[Similarities]:
    """POST /similarity."""
    parameters = request.parameters or TeiSimilarityParameters.model_validate({})
    source, sentences = request.inputs.source_sentence, request.inputs.sentences
    check_pair(source, sentences, "source_sentence", "inputs.sentences")
    options = EmbeddingOptions(
        prompt_name=parameters.prompt_name, truncate=parameters.truncate_option(), input_name="inputs"
    )
    params = EmbeddingParams(request.model, [source, *sentences], options, request.warnings())
    embedded = await work.embed(params)
    vectors = embedded.result.dense.astype(np.float64)
    cosines: list[float] = np.clip(vectors[1:] @ vectors[0], -1, 1).tolist()
    return answer(cosines, embedded.warnings)


async def rerank(work: Work, request: TeiRerankRequest, _: Mapping[str, str]) -> Answer[TeiRanking]:
    """POST /rerank with `texts`."""
    options = RerankOptions(
        truncate=request.truncate_option(), raw_scores=bool(request.raw_scores), documents_name="texts"
    )
    params = RerankParams(request.model, request.query, request.texts, options, request.warnings())
    ranked = await work.rank(params)
    results: list[TeiRankedText] = [{"index": index, "score": score} for index, score in ranked.order]
    if request.return_text:
        for result in results:
            result["text"] = request.texts[result["index"]]
    large = bool(request.return_text) and are_large(request.texts)
    return await write_answer(lambda: results, large=large, warnings=ranked.warnings)


async def tokenize(work: Work, request: TeiTokenizeRequest, _: Mapping[str, str]) -> Answer[Tokens]:
    """POST /tokenize."""
    params = CountParams(
        model=request.model,
        inputs=request.inputs,
        input_name="inputs",
        prompt_name=request.prompt_name,
        special_tokens=request.add_special_tokens is not False,
    )
    return answer(await work.counting.tokens(params, _write_tokens), request.warnings())


def _write_tokens(tokens: list[Token]) -> orjson.Fragment:
    """A JSON list, serialized in blocks, so that a long list shares the GIL."""
    blocks = (tokens[start : start + _BLOCK_TOKENS] for start in range(0, len(tokens), _BLOCK_TOKENS))
    return orjson.Fragment(b"[%b]" % b",".join(orjson.dumps(block)[1:-1] for block in blocks))


async def info(context: Context, _: Request) -> Answer[Info]:
    """GET /info: the default embedding model, or the reranker if only that is served."""
    return answer(await asyncio.to_thread(_info, context, await context.pool.in_memory()))


def _info(context: Context, in_memory: Mapping[str, InMemory]) -> Info:
    settings = context.settings
    only_reranks = settings.serve_tasks == ("rerank",)
    spec = context.catalog.get(settings.reranker_model_name if only_reranks else settings.embedding_model_name)
    stored = context.store.find(spec)
    facts = stored.facts if stored else None
    kind: dict[str, Any] = {"embedding": {"pooling": facts.pooling if facts else spec.pooling}}
    if spec.kind == "reranker":
        kind = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
    loaded = in_memory.get(spec.name)
    planned = context.planned_dtype(stored) if stored else None
    return {
        "model_id": spec.repo,
        "model_sha": facts.revision if facts else spec.revision,
        "model_dtype": loaded.dtype if loaded else planned,
        "model_type": kind,
        "max_input_length": facts.max_tokens if facts else spec.max_tokens,
        "max_batch_tokens": settings.max_batch_tokens,
        "max_client_batch_size": settings.max_inputs,
        "auto_truncate": True,
        "version": VERSION,
    }
