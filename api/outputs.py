"""Sparse vectors and token vectors in responses, for all API dialects that have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NotRequired

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from api.encodings import encode
from api.responses import FloatVector, Vector, written_as
from runners.contracts import SparseVector

Strings = Callable[[Sequence[int]], list[str]]
"""Token ids -> the tokens as strings."""

TOP_K = "Maximum number of weights of a sparse vector; the largest are kept. Default: all."
MIN_WEIGHT = "Minimum weight in a sparse vector. Default: all weights above 0."
RETURN_TOKENS = "Whether to return the tokens of sparse vectors and token vectors as strings. Default: false."

Tokens = Annotated[list[str], Field(description="The tokens as strings, only if return_tokens is true.")]
TokenEmbeddings = Annotated[list[Vector], Field(description="One vector for each token.")]


class SparseEmbedding(TypedDict):
    """The weights of tokens of the model's vocabulary."""

    indices: Annotated[orjson.Fragment, written_as(list[int]), Field(description="Token ids, ascending.")]
    values: Annotated[FloatVector, Field(description="The weight of each token; always a list of numbers.")]
    tokens: NotRequired[Tokens]


def sparse_embedding(vector: SparseVector, strings: Strings | None) -> SparseEmbedding:
    """A sparse vector in the form of OpenAI's route; with tokens if `strings` is given."""
    content: SparseEmbedding = {
        "indices": orjson.Fragment(encode(vector.indices, "float")),
        "values": orjson.Fragment(encode(vector.values, "float")),
    }
    if strings is not None:
        content["tokens"] = strings(vector.indices.tolist())
    return content
