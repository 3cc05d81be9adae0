"""Request bodies of our own routes. Known fields of the wrong type are refused by name, unknown ones are ignored."""

from __future__ import annotations

from typing import Annotated, ClassVar, Protocol, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.encodings import EmbeddingType, Encoding, OutputType
from api.fields import (
    Body,
    Count,
    Documents,
    FieldNames,
    Flag,
    Inputs,
    Instruction,
    Limits,
    ModelName,
    Positive,
    Priority,
    TextOrObject,
    Truncation,
    document_texts,
    either,
)
from api.ignored import EMBEDDING_FIELDS, RERANK_FIELDS
from api.json_body import BodyLimits
from api.params import CountParams, EmbeddingParams, RerankParams, TokenEncoding
from api.token_ids import decode
from runners.contracts import EmbeddingOptions, Input, RerankOptions


class ParseLimits(Limits, BodyLimits, Protocol):
    """The settings that bound a request: its JSON, and the items in it."""


def _one_type(value: object) -> object:
    """Jina takes a list of types, of which each vector here has one."""
    if not isinstance(value, list):
        return value
    if len(value) != 1:
        raise PydanticCustomError("one_type", "takes one type here; send a request for each")
    return value[0]


OneEmbeddingType = Annotated[
    EmbeddingType,
    BeforeValidator(_one_type),
    WithJsonSchema(
        {
            "anyOf": [
                _TYPES := {"type": "string", "enum": list(get_args(EmbeddingType))},
                {"type": "array", "items": _TYPES, "minItems": 1, "maxItems": 1},
            ]
        }
    ),
]

INPUT_TYPE = "Side of a search, for models with prompts: query or document (search_query, passage, ...)."


class EmbeddingRequest(Body):
    """POST /v1/embeddings, as OpenAI, Jina and Voyage define it."""

    refused: ClassVar = EMBEDDING_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of an embedding model.")
    input: Inputs = Field(
        description="A text or a list of texts, also as objects with the key text; or one or several arrays of token "
        "ids, see token_encoding."
    )
    token_encoding: TokenEncoding | None = Field(
        None,
        description="What token ids are ids of: cl100k_base (the default, as OpenAI's clients send it) is decoded to "
        "text first; model is the model's own vocabulary, without special tokens.",
    )
    encoding_format: Encoding | None = Field(
        None, description="base64: the numbers' bytes, little-endian. Default: float, a list of numbers."
    )
    output_dtype: OutputType | None = Field(
        None,
        description="Voyage's name for the type of the numbers. int8 and uint8: scaled so that each vector's largest "
        "absolute value fits. binary and ubinary: one bit a dimension, eight in a number. Default: float.",
    )
    embedding_type: OneEmbeddingType | None = Field(None, description="Jina's name for the same.")
    encoding_type: OneEmbeddingType | None = Field(None, description="LlamaIndex's name for embedding_type.")
    dimensions: Positive | None = Field(
        None, description="Cut the vectors to this many dimensions and scale them to length 1 again."
    )
    output_dimension: Positive | None = Field(None, description="Voyage's name for dimensions.")
    truncate: Truncation | None = Field(
        None, description="false or NONE: refuse too long a text with 400. START: cut its start off. Default: its end."
    )
    truncation: Truncation | None = Field(None, description="Voyage's name for truncate.")
    normalized: Flag | None = Field(None, description="false: vectors as the model makes them. Default: of length 1.")
    normalize: Flag | None = Field(None, description="vLLM's name for normalized.")
    input_type: str | None = Field(None, description=INPUT_TYPE)
    task: str | None = Field(None, description="Jina's name for input_type: retrieval.query, retrieval.passage, ...")
    prompt_name: str | None = Field(None, description="A prompt of the model by its name; GET /models lists them.")
    instruction: Instruction | None = Field(
        None, description="What is searched for, in words, for models whose prompt takes an instruction."
    )
    priority: Priority | None = Field(
        None, description="0 (the default) is served first, 999 last; waiting makes up for it, ten steps a second."
    )
    user: str | None = Field(None, description="Accepted for OpenAI's clients; not used.")

    def params(self, most_bytes: int) -> EmbeddingParams:
        """The common form. Decodes token ids to at most `most_bytes`, which takes long for many ids."""
        encoding = self.token_encoding or "cl100k_base"
        inputs = decoded(self.input, most_bytes) if encoding == "cl100k_base" else as_inputs(self.input)
        options = EmbeddingOptions(
            input_type=either(self.input_type, self.task, "input_type and task"),
            prompt_name=self.prompt_name,
            instruction=self.instruction,
            dimensions=either(self.dimensions, self.output_dimension, "dimensions and output_dimension"),
            dimensions_name="output_dimension" if self.dimensions is None else "dimensions",
            truncate=either(self.truncate, self.truncation, "truncate and truncation") or "end",
            normalized=either(self.normalized, self.normalize, "normalized and normalize") is not False,
            priority=self.priority or 0,
        )
        return EmbeddingParams(self.model, inputs, options, self.warnings())

    @property
    def _jina_type(self) -> EmbeddingType | None:
        return either(self.embedding_type, self.encoding_type, "embedding_type and encoding_type")

    @property
    def encoding(self) -> Encoding:
        """How the numbers are written."""
        jina: Encoding | None = "base64" if self._jina_type == "base64" else None
        return either(self.encoding_format, jina, "encoding_format and embedding_type") or "float"

    @property
    def output_type(self) -> OutputType:
        """What the numbers are."""
        jina = self._jina_type if self._jina_type != "base64" else None
        return either(self.output_dtype, jina, "output_dtype and embedding_type") or "float"


class RerankRequest(Body):
    """POST /v1/rerank, as Cohere, Jina and Voyage define it."""

    refused: ClassVar = RERANK_FIELDS

    model: ModelName | None = Field(None, description="Short name or full name of a reranker or embedding model.")
    query: TextOrObject = Field(description="What the documents are ranked by.")
    documents: Documents = Field(description="The texts to rank, or objects with the key text.")
    rank_fields: FieldNames | None = Field(
        None, description="Keys of the documents' objects that are read, in this order, at most 100. Default: text."
    )
    top_n: Count | None = Field(None, description="How many results to return; null or 0: all.")
    top_k: Count | None = Field(None, description="Voyage's name for top_n; the results are then also under data.")
    return_documents: Flag | None = Field(None, description="Whether each result holds its document. Default: false.")
    max_tokens_per_doc: Positive | None = Field(None, description="Read only so many tokens of each document.")
    raw_scores: Flag | None = Field(None, description="Whether scores are the model's own numbers instead of 0 to 1.")
    instruction: Instruction | None = Field(
        None, description="What counts as relevant, in words, for models that take an instruction."
    )
    truncate: Truncation | None = Field(
        None, description="false or NONE: refuse too long a pair with 400. START: cut its start off. Default: its end."
    )
    truncation: Truncation | None = Field(
        None, description="Voyage's name for truncate; the results are then also under data."
    )
    priority: Priority | None = Field(
        None, description="0 (the default) is served first, 999 last; waiting makes up for it, ten steps a second."
    )

    def params(self) -> RerankParams:
        """The common form."""
        documents = document_texts(self.documents, self.rank_fields)
        options = RerankOptions(
            instruction=self.instruction,
            truncate=either(self.truncate, self.truncation, "truncate and truncation") or "end",
            max_document_tokens=self.max_tokens_per_doc,
            top_n=either(self.top_n, self.top_k, "top_n and top_k"),
            raw_scores=bool(self.raw_scores),
            priority=self.priority or 0,
        )
        return RerankParams(self.model, self.query, documents, options, self.warnings())

    @property
    def from_voyage(self) -> bool:
        """Whether a field says that Voyage's client reads the answer, which it looks for under `data`."""
        return not self.model_fields_set.isdisjoint({"top_k", "truncation"})


class TokenizeRequest(Body):
    """POST /v1/tokenize: how many tokens texts have, so that a caller can plan its chunks."""

    model: ModelName | None = Field(None, description="Any model that is not forwarded; default: the embedding model.")
    input: Inputs = Field(description="A text or a list of texts.")
    input_type: str | None = Field(None, description=INPUT_TYPE)
    prompt_name: str | None = Field(None, description="A prompt of the model that counts, too.")

    def params(self) -> CountParams:
        """The common form."""
        return CountParams(
            model=self.model,
            inputs=self.input,
            input_name="input",
            input_type=self.input_type,
            prompt_name=self.prompt_name,
            warnings=self.warnings(),
        )


def decoded(inputs: list[str] | list[list[int]], most_bytes: int) -> list[str]:
    """Texts as they are, and ids of cl100k_base decoded to at most `most_bytes`."""
    arrays = [each for each in inputs if isinstance(each, list)]
    return decode(arrays, most_bytes) if arrays else [each for each in inputs if isinstance(each, str)]


def as_inputs(inputs: list[str] | list[list[int]]) -> list[Input]:
    """Texts and ids for the model itself."""
    return [each if isinstance(each, str) else tuple(each) for each in inputs]
