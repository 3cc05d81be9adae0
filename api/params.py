"""The parameters of a request, in one form for all API dialects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runners.contracts import EmbeddingOptions, Input, RerankOptions


@dataclass(slots=True)
class EmbeddingParams:
    """An embedding request. `model` None: the default model. `warnings` are returned to the client."""

    model: str | None
    inputs: Sequence[Input]
    options: EmbeddingOptions
    warnings: Sequence[str]
    return_tokens: bool = False
    """Whether the response names the tokens of sparse vectors and token vectors."""


@dataclass(slots=True)
class RerankParams:
    """A rerank request; `model` and `warnings` as in EmbeddingParams."""

    model: str | None
    query: str
    documents: Sequence[str]
    options: RerankOptions
    warnings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class CountParams:
    """A request for the tokens of texts, beyond the model's limit too. `model` and `warnings` as in EmbeddingParams."""

    model: str | None
    inputs: Sequence[str | Sequence[int]]
    input_name: str
    """The client's name for the inputs, for error messages."""
    input_type: str | None = None
    prompt_name: str | None = None
    special_tokens: bool = True
    """Whether to return the model's special tokens as well."""
    warnings: Sequence[str] = ()
