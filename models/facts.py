"""Facts that an import reads from a checkpoint and stores beside the weights."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from models.catalog import AnswerScoring, Output, Pooling

LOCAL = "local-"
"""Prefix of the revision of a model imported from a folder."""
REFERENCE = "reference"
"""Folder with the repository's own small files, for its comparison with sentence-transformers."""
QUERY_TABLE = "query_weights.npy"
"""(V,) weights of tokens in queries, for sparse models that compute documents only."""
FORMAT = 1
"""Version of the stored layout. Models stored in another version are imported again."""


Engine = Literal["own", "sentence-transformers"]


class Verification(BaseModel, frozen=True, extra="forbid"):
    """How close a model's results came to those of its reference."""

    by: str = Field(description="The reference and its version; empty if there was none.")
    at: str = Field(description="Time of the comparison, in ISO 8601.")
    texts: int = Field(0, description="Number of texts or pairs that were compared.")
    lowest_cosine: float | None = Field(None, description="Of a vector and the reference's; None for a reranker.")
    largest_difference: float | None = Field(
        None, description="Of a score, relative to the spread of the scores; None for an embedding model."
    )
    problem: str = Field("", description="Why there is no comparison; empty if there is one.")


class Expansion(BaseModel, frozen=True, extra="forbid"):
    """How a multi-vector model expands a query with mask tokens, whose vectors count."""

    tokens: int = Field(description="Tokens of an expanded query, special tokens included.")
    token_id: int = Field(description="The token that is appended.")
    fixed: bool = Field(description="Whether longer queries are truncated to this length.")
    attended: bool = Field(description="Whether other tokens attend to the appended ones.")


class SideRules(BaseModel, frozen=True, extra="forbid"):
    """How the texts of one side of a search are read."""

    max_tokens: int
    bare: bool = Field(False, description="Without special tokens.")
    expansion: Expansion | None = None


class SparseHead(BaseModel, frozen=True, extra="forbid"):
    """How a model weighs tokens."""

    kind: Literal["linear", "vocabulary"] = Field(
        description="linear: a weight for each token of the text. vocabulary: one for each token that the masked-LM "
        "head predicts."
    )
    pooling: Literal["max", "sum"] = "max"
    activation: Literal["relu", "log1p", "log1p_log1p"] = "relu"
    ignored_ids: tuple[int, ...] = Field((), description="Tokens without a weight.")
    query_table: bool = Field(False, description="Whether the weights of queries come from a table.")


class TokenHead(BaseModel, frozen=True, extra="forbid"):
    """Which tokens of a text have vectors."""

    without_first: bool = Field(False, description="Whether the first token has none.")
    skipped_ids: tuple[int, ...] = Field((), description="Tokens of documents that have none.")
    prefix_tokens: tuple[str, ...] = Field((), description="Tokens in prompts that the tokenizer must not divide.")


class ModelFacts(BaseModel, frozen=True, extra="forbid"):
    """What serving needs to know about a model beyond the catalogue."""

    format: int = FORMAT
    repo: str
    revision: str = Field(description="Commit of the Hub, or `local-` and a hash of an imported folder.")
    architecture: str = Field(description="Class name in transformers, or of one of our own modules.")
    max_tokens: int
    dimensions: int | None = Field(None, description="Width of the vector; None for a reranker.")
    outputs: tuple[Output, ...] = Field(("dense",), description="What it returns for a text; empty for a reranker.")
    sparse: SparseHead | None = None
    multi_vector: TokenHead | None = None
    query_rules: SideRules | None = Field(None, description="None: queries are read like all texts.")
    document_rules: SideRules | None = None
    pooling: Pooling | None = None
    mask_prompt: bool = Field(False, description="Whether pooling excludes the prompt's tokens.")
    dense: tuple[str, ...] = Field(
        (), description="Folders of sentence-transformers Dense and LayerNorm layers after the pooling, in order."
    )
    scoring: AnswerScoring | None = Field(
        None, description="The repository's own scoring, for a model whose block of the catalogue has none."
    )
    token_type_ids: bool = Field(False, description="Whether the model reads segment ids.")
    vocabulary: int = Field(description="Rows of the embedding table.")
    pad_id: int = Field(0, description="Token id for padding, which is on the right.")
    closing_ids: tuple[int, ...] = Field((), description="Ids to append that tokenizer.json omits.")
    parameters: int
    weight_dtype: str = Field(description="Data type of the stored tensors.")
    weight_bytes: int
    sha256: dict[str, str] = Field(description="File name -> SHA-256 of every stored file.")
    fingerprints: dict[str, str] = Field(
        {}, description="File name -> its size and a hash of samples, compared at every load (integrity.py)."
    )
    import_options: dict[str, str] = Field({}, description="ModelSpec.import_options at the time of the import.")
    engine: Engine = Field("own", description="What runs the model: one of our engines, or sentence-transformers.")
    engine_reason: str = Field("", description="Why sentence-transformers runs it.")
    verification: Verification | None = Field(None, description="None for imports by earlier versions.")
    block: str = Field("", description="The model's ModelSpec as JSON, if it comes from the repository.")

    @property
    def local(self) -> bool:
        """Whether the model was imported from a folder and not from the Hub."""
        return self.revision.startswith(LOCAL)
