"""What a request asks for, whichever service's words it used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runners.embedding import Input
from runners.text.sequences import Truncate

TokenEncoding = Literal["cl100k_base", "model"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingAsk:
    """Vectors for inputs. `field` and `width_field` are what the client calls the inputs and `dimensions`.

    `warnings` are known from the request alone, and go into the answer.
    """

    model: str | None
    inputs: Sequence[Input]
    field: str
    input_type: str | None = None
    prompt_name: str | None = None
    instruction: str | None = None
    dimensions: int | None = None
    width_field: str = "dimensions"
    truncate: Truncate = "end"
    normalized: bool = True
    priority: int = 0
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class RerankAsk:
    """Scores for documents, best first; `top_n` None or 0: all of them."""

    model: str | None
    query: str
    documents: Sequence[str]
    field: str
    instruction: str | None = None
    truncate: Truncate = "end"
    max_document_tokens: int | None = None
    top_n: int | None = None
    raw_scores: bool = False
    priority: int = 0
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class CountAsk:
    """Tokens of texts, as if the model had no limit. `field` is what the client calls the texts."""

    model: str | None
    inputs: Sequence[str | Sequence[int]]
    field: str
    input_type: str | None = None
    prompt_name: str | None = None
    special: bool = True
    """Whether the model's special tokens are told, too."""
    warnings: Sequence[str] = ()
