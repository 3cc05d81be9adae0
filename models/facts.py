"""What an import found out about a checkpoint; kept in the store beside the weights."""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.catalog import Pooling

LOCAL = "local-"
"""Prefix of the revision of a model that came from a folder."""
FORMAT = 1
"""Version of the stored layout. A model stored under another number is imported anew."""


class ModelFacts(BaseModel, frozen=True, extra="forbid"):
    """Everything that serving needs and the catalogue does not pin down."""

    format: int = FORMAT
    repo: str
    revision: str = Field(description="Commit of the Hub, or `local-` and a hash of an imported folder.")
    architecture: str = Field(description="Class name in transformers, or one of our own modules.")
    max_tokens: int
    dimensions: int | None = Field(None, description="Width of the vector; None for a reranker.")
    pooling: Pooling | None = None
    mask_prompt: bool = Field(False, description="Whether the prompt's tokens are left out of pooling.")
    dense: tuple[str, ...] = Field((), description="Folders of sentence-transformers Dense layers, in order.")
    token_type_ids: bool = Field(False, description="Whether the model reads segment ids.")
    vocabulary: int = Field(description="Rows of the embedding table.")
    pad_id: int = Field(0, description="Token id that fills a batch on the right.")
    closing_ids: tuple[int, ...] = Field((), description="Ids that belong at the end and tokenizer.json leaves out.")
    parameters: int
    weight_dtype: str = Field(description="Data type of the stored tensors.")
    weight_bytes: int
    sha256: dict[str, str] = Field(description="File name -> digest of every stored file.")
    fingerprints: dict[str, str] = Field(
        {}, description="File name -> its size and a hash of samples, compared at every load (integrity.py)."
    )
    import_options: dict[str, str] = Field(
        {}, description="What the catalogue said when the model was imported (ModelSpec.import_options)."
    )

    @property
    def local(self) -> bool:
        """Whether the model came from a folder and not from the Hub."""
        return self.revision.startswith(LOCAL)
