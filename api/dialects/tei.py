"""text-embeddings-inference's words, for the default models: /embed, /rerank, /similarity, /tokenize, /info."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import orjson
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from api.encodings import encode_rows
from api.endpoints import Endpoints
from api.fields import AnyText, AnyTexts, Body, Flag, Inputs, Items, ModelName, Positive
from api.ignored import EMBEDDING_FIELDS, RERANK_FIELDS
from api.params import CountParams, EmbeddingParams, RerankParams
from api.responses import JSON, LARGE_ANSWER, response_of, vectors_response, warning_header
from api.schemas import as_inputs
from errors import InvalidRequestError
from runners.contracts import EmbeddingOptions, RerankOptions, Truncate
from runners.text.plain_tokenizers import Token

_BLOCK = 4_096

MODEL = "Another model than the default one."
TRUNCATE = "false: refuse too long a text with 400. Default: cut it."


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Direction = Annotated[Literal["left", "right"], BeforeValidator(_lower)]


class Cutting(Body):
    """What happens to a text that is too long."""

    truncate: Flag | None = Field(None, description=TRUNCATE)
    truncation_direction: Direction | None = Field(None, description="Which end is cut off. Default: right.")

    def cutting(self) -> Truncate:
        """The common form."""
        if self.truncate is False:
            return "refuse"
        return "start" if self.truncation_direction == "left" else "end"


class TeiEmbedRequest(Cutting):
    """POST /embed, and POST / as the Hub's InferenceClient sends it."""

    refused: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description=MODEL)
    inputs: Inputs = Field(description="A text, a list of texts, or token ids in the model's own vocabulary.")
    normalize: Flag | None = Field(None, description="false: vectors as the model makes them. Default: of length 1.")
    prompt_name: str | None = Field(None, description="A prompt of the model by its name.")
    dimensions: Positive | None = Field(None, description="Cut the vectors to this many dimensions.")


Sentences = Annotated[list[AnyText], Items("max_inputs")]


class TeiSentences(Body):
    """What POST /similarity compares."""

    source_sentence: AnyText = Field(description="What the others are compared with.")
    sentences: Sentences = Field(description="The others.")


class TeiSimilarityParameters(Cutting):
    """How POST /similarity embeds."""

    prompt_name: str | None = Field(None, description="A prompt of the model by its name.")


class TeiSimilarityRequest(Body):
    """POST /similarity."""

    model: ModelName | None = Field(None, description=MODEL)
    inputs: TeiSentences = Field(description="What is compared.")
    parameters: TeiSimilarityParameters | None = Field(None, description="How it is embedded.")


class TeiTokenizeRequest(Body):
    """POST /tokenize."""

    model: ModelName | None = Field(None, description=MODEL)
    inputs: Inputs = Field(description="A text or a list of texts.")
    add_special_tokens: Flag | None = Field(None, description="Default: true.")
    prompt_name: str | None = Field(None, description="A prompt of the model by its name.")


class TeiRerankRequest(Cutting):
    """POST /rerank with `texts`."""

    refused: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description=MODEL)
    query: AnyText = Field(description="What the texts are ranked by.")
    texts: AnyTexts = Field(description="The texts to rank.")
    raw_scores: Flag | None = Field(None, description="Whether scores are the model's own numbers instead of 0 to 1.")
    return_text: Flag | None = Field(None, description="Whether each result holds its text. Default: false.")


async def embed(endpoints: Endpoints, request: TeiEmbedRequest, _: Mapping[str, str]) -> Response:
    """POST /embed: a bare list of vectors."""
    options = EmbeddingOptions(
        prompt_name=request.prompt_name,
        dimensions=request.dimensions,
        truncate=request.cutting(),
        normalized=request.normalize is not False,
        input_name="inputs",
    )
    params = EmbeddingParams(request.model, as_inputs(request.inputs), options, request.warnings())
    embedded = await endpoints.embed(params)
    return await vectors_response(
        embedded.result, lambda: encode_rows(embedded.result.vectors), warnings=embedded.warnings
    )


async def similarity(endpoints: Endpoints, request: TeiSimilarityRequest, _: Mapping[str, str]) -> Response:
    """POST /similarity: a bare list of cosines."""
    parameters = request.parameters or TeiSimilarityParameters.model_validate({})
    source, sentences = request.inputs.source_sentence, request.inputs.sentences
    if not source and "" in sentences:
        name = f"inputs.sentences.{sentences.index('')}"
        raise InvalidRequestError(f"{name} and source_sentence are both empty; one must have a text.", param=name)
    options = EmbeddingOptions(prompt_name=parameters.prompt_name, truncate=parameters.cutting(), input_name="inputs")
    params = EmbeddingParams(request.model, [source, *sentences], options, request.warnings())
    embedded = await endpoints.embed(params)
    vectors = embedded.result.vectors.astype(np.float64)
    cosines = np.clip(vectors[1:] @ vectors[0], -1, 1).tolist()
    return await response_of(lambda: orjson.dumps(cosines), large=False, warnings=embedded.warnings)


async def rerank(endpoints: Endpoints, request: TeiRerankRequest, _: Mapping[str, str]) -> Response:
    """POST /rerank with `texts`: a bare list, best first."""
    options = RerankOptions(truncate=request.cutting(), raw_scores=bool(request.raw_scores), documents_name="texts")
    params = RerankParams(request.model, request.query, request.texts, options, request.warnings())
    answer = await endpoints.rank(params)
    results: list[dict[str, Any]] = [{"index": index, "score": score} for index, score in answer.order]
    if request.return_text:
        for entry in results:
            entry["text"] = request.texts[entry["index"]]
    large = bool(request.return_text) and sum(map(len, request.texts)) >= LARGE_ANSWER
    return await response_of(lambda: orjson.dumps(results), large=large, warnings=answer.warnings)


async def tokenize(endpoints: Endpoints, request: TeiTokenizeRequest, _: Mapping[str, str]) -> Response:
    """POST /tokenize: for each text its tokens."""
    params = CountParams(
        model=request.model,
        inputs=request.inputs,
        input_name="inputs",
        prompt_name=request.prompt_name,
        special_tokens=request.add_special_tokens is not False,
    )
    written = await endpoints.counting.tokens(params, _write_tokens)
    return Response(b"[%b]" % b",".join(written), media_type=JSON, headers=warning_header(request.warnings()))


def _write_tokens(tokens: list[Token]) -> bytes:
    """A JSON list, written block by block, so that a long one shares the GIL."""
    blocks = (tokens[start : start + _BLOCK] for start in range(0, len(tokens), _BLOCK))
    return b"[%b]" % b",".join(orjson.dumps(block)[1:-1] for block in blocks)
