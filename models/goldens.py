"""Golden numbers: published results for real weights, which an import must reproduce."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from models.yaml_file import read_yaml

GOLDENS_PATH = Path(__file__).with_name("goldens.yaml")


class Golden(BaseModel, frozen=True, extra="forbid"):
    """One check: what to compute, on which texts, and the expected numbers of another implementation."""

    model: str = Field(description="Short name in the catalogue.")
    what: Literal["rerank_scores", "rerank_logits", "query_cosines"]
    query: str | None = None
    documents: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = Field((), description="Instead of query and documents.")
    query_prompt: str = ""
    document_prompt: str = ""
    expected: tuple[float, ...] = Field(min_length=1)
    tolerance: float = Field(gt=0, description="Largest absolute difference that passes.")
    source: str = Field(description="Who computed the numbers, in which precision.")

    @model_validator(mode="after")
    def _consistent(self) -> Golden:
        if self.pairs and (self.query is not None or self.documents):
            raise ValueError("give either pairs, or query and documents")
        if not self.pairs and self.query is None:
            raise ValueError("documents need a query")
        if len(self.expected) != len(self.text_pairs()):
            raise ValueError("expected must have one number for each document or pair")
        return self

    def text_pairs(self) -> list[tuple[str, str]]:
        """(query, document) in the order of `expected`."""
        if self.pairs:
            return list(self.pairs)
        return [(self.query or "", document) for document in self.documents]


@cache
def load_goldens() -> tuple[Golden, ...]:
    """All checks of goldens.yaml."""
    content = read_yaml(GOLDENS_PATH)
    return tuple(Golden.model_validate(block) for block in content["checks"])


def goldens_of(name: str) -> list[Golden]:
    """The checks of one model; empty if it has no published numbers."""
    return [golden for golden in load_goldens() if golden.model == name]
