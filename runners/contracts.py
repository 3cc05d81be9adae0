"""The types that the API, the runners and the engines share. This module imports nothing of ours.

Shapes: B inputs of one forward pass, N inputs of a request, T tokens of the longest input, H and D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
"""(B, H) pooled vectors of an embedding model, or (B, 1) logits of a reranker."""
Vectors = NDArray[np.float32]
"""(N, D)"""
Scores = NDArray[np.float64]
"""(N,)"""

Input = str | tuple[int, ...]
"""A text, or its token ids in the model's own vocabulary. All inputs of a request are of one kind."""

BACKGROUND_PRIORITY = 1_000_000
"""The priority of work that runs while no request waits. Requests have 0 to 999; 28 hours of waiting make up for it."""

Output = Literal["dense", "sparse", "multi_vector"]
"""What a model returns for a text: one vector, weights of tokens of its vocabulary, or one vector for each token."""

Truncate = Literal["end", "start", "refuse"]
"""What to do with an input that is too long: cut off its end or its start, or reject the request."""

Limit = Literal["model", "request", "query", "bytes"]
"""The limit that an input exceeds: the model's, the request's, the query's share of a pair, or MAX_TEXT_BYTES."""

QUERY = -1
"""The index of the query, beside the indexes of a request's documents."""


SIDE_IDS = 2**24
"""Token ids that are raised by this, or by twice as much, are those of a query, or of a document. Only the
sentence-transformers engine needs it: some of its models have a network for each side of a search."""


class Wanted(IntFlag):
    """What a pass computes for an input."""

    DENSE = 1
    SPARSE = 2
    TOKENS = 4
    """The vectors of multi-vector models."""
    STATES = 8
    """The last hidden states of the encoder, for late chunking."""

    @classmethod
    def of(cls, outputs: Iterable[Output | Literal["states"]]) -> Wanted:
        """What computes all of these outputs."""
        return cls(sum({WANTED[output] for output in outputs}))


WANTED: dict[Output | Literal["states"], Wanted] = {
    "dense": Wanted.DENSE,
    "sparse": Wanted.SPARSE,
    "multi_vector": Wanted.TOKENS,
    "states": Wanted.STATES,
}


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One input of the model: token ids with special tokens, and segment ids if the model reads them."""

    input_ids: list[int]
    token_type_ids: list[int] | None = None
    unpooled: int = 0
    """Number of leading tokens that pooling ignores (the instruction of some models)."""
    unattended: int = 0
    """Number of trailing tokens that no token attends to: those that expand the queries of some multi-vector models."""
    wanted: Wanted = Wanted.DENSE

    def __len__(self) -> int:
        return len(self.input_ids)


TokenSequences = Sequence[TokenSequence]


@dataclass(frozen=True, slots=True)
class TruncatedInput:
    """A truncated input: its index in the request, its number of tokens and how many of them were kept."""

    index: int
    tokens: int
    kept: int
    exact: bool = True
    """False: the text is so long that `tokens` counts only a part of it."""
    by: Limit = "model"


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """The weights of K tokens of a model's vocabulary."""

    indices: NDArray[np.int32]
    """(K,) token ids, ascending."""
    values: NDArray[np.float32]
    """(K,), each above 0."""

    def strongest(self, top_k: int | None, min_weight: float) -> SparseVector:
        """The same with its `top_k` largest weights, of those that are at least `min_weight`."""
        keep = self.values >= min_weight
        if top_k is not None and keep.sum() > top_k:
            order = np.argsort(-np.where(keep, self.values, 0), kind="stable")
            keep = np.zeros_like(keep)
            keep[order[:top_k]] = True
        return self if keep.all() else SparseVector(self.indices[keep], self.values[keep])


@dataclass(frozen=True, slots=True, eq=False)
class TokenVectors:
    """One unit vector for each token of a text that the model keeps."""

    vectors: NDArray[np.float32]
    """(T, D)"""
    token_ids: NDArray[np.int32]
    """(T,)"""


@dataclass(frozen=True, slots=True, eq=False)
class TextOutputs:
    """What a pass computed for one input of T tokens, in float32; None: not wanted."""

    dense: NDArray[np.float32] | None = None
    """(H,)"""
    sparse: SparseVector | None = None
    tokens: NDArray[np.float32] | None = None
    """(T, D): the unit vector of each token."""
    states: NDArray[np.float32] | None = None
    """(T, H)"""

    @property
    def finite(self) -> bool:
        """Whether no number is NaN or infinity."""
        found = (self.dense, None if self.sparse is None else self.sparse.values, self.tokens, self.states)
        return all(np.isfinite(each).all() for each in found if each is not None)


Results = Rows | list[TextOutputs]
"""The results of one pass or of one request, in the order of the inputs: rows if only dense vectors are wanted."""

Encodings = tuple[list[TokenSequence], list[TruncatedInput]]
"""Token sequences in the order of the inputs, and the inputs that were truncated."""


@dataclass(frozen=True)
class BatchShape:
    """The size of a forward pass: its inputs, the tokens of the longest input, and the tokens of all inputs."""

    count: int
    longest: int
    tokens: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> BatchShape:
        """The shape of a pass over inputs of these lengths, at least one."""
        return cls(len(lengths), max(lengths), sum(lengths))

    def __add__(self, other: BatchShape) -> BatchShape:
        return BatchShape(self.count + other.count, max(self.longest, other.longest), self.tokens + other.tokens)

    def computed(self, padding_cost: float) -> float:
        """Number of tokens that the pass computes; a padding token counts as `padding_cost` (see Backend)."""
        return self.tokens + padding_cost * (self.count * self.longest - self.tokens)


Forward = Callable[[TokenSequences], Rows]
"""One forward pass: B sequences to B rows, in order."""
Run = Callable[[TokenSequences], Results]
"""One forward pass that computes what each of the sequences wants."""


def only_dense(sequences: TokenSequences) -> bool:
    """Whether only dense vectors, or logits, are wanted."""
    return all(sequence.wanted == Wanted.DENSE for sequence in sequences)


class OutOfMemoryError(RuntimeError):
    """A forward pass did not fit in the device's memory; a smaller one may fit."""


class Backend(Protocol):
    """An engine with one loaded model."""

    name: str
    """Shown by GET /models: `torch float32 on cpu`."""

    padding_cost: float
    """Cost of a padding token relative to a real one: 1 where padding is computed like text, 0 without padding."""

    concurrent_passes: int
    """Passes that may run at the same time. 2 on a GPU, so that the next one is launched before one ends."""

    memory_bytes: int
    """Memory measured at load; 0 where it cannot be measured."""

    @property
    def dtype(self) -> str:
        """Data type of the computation: float32, bfloat16, float16 or int8."""
        ...

    @property
    def weights_dtype(self) -> str:
        """Data type of the stored weights."""
        ...

    def forward(self, sequences: TokenSequences) -> Rows:
        """B sequences -> (B, H) pooled vectors of an embedding model, (B, 1) logits of a reranker, in float32."""
        ...

    def outputs(self, sequences: TokenSequences, *, exact: bool = False) -> list[TextOutputs]:
        """B sequences -> what each wants. `exact`: in float32, slow, for results that were not finite."""
        ...

    def pass_bytes(self, size: BatchShape) -> int:
        """Upper bound of the memory that `forward` takes for a pass of this size, without the weights.

        0 where exhausting the memory raises OutOfMemoryError instead of ending the process.
        """
        ...

    def forward_exact(self, sequences: TokenSequences) -> Rows:
        """The same in float32, for sequences whose rows were not finite; slow."""
        ...

    @property
    def second_forward(self) -> Forward | None:
        """`forward` of a second copy of the network, which may run at the same time; None without a second copy."""
        ...

    def close(self) -> None:
        """Free the memory."""
        ...


@dataclass(slots=True)
class Timings:
    """Seconds of each stage: tokenization, waiting in queues, and forward passes."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0

    def stages(self) -> dict[str, float]:
        """Name of each stage -> its seconds, in chronological order."""
        return {"tokenize": self.tokenize_s, "queue": self.queue_s, "compute": self.compute_s}

    def add(self, other: Timings) -> None:
        """Add the timings of another part of the same request."""
        self.tokenize_s += other.tokenize_s
        self.queue_s += other.queue_s
        self.compute_s += other.compute_s


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """What an embedding request may choose. Names are the client's, for error messages."""

    input_type: str | None = None
    prompt_name: str | None = None
    instruction: str | None = None
    dimensions: int | None = None
    truncate: Truncate = "end"
    normalized: bool = True
    priority: int = 0
    """Among waiting requests, those with a lower number run first."""
    outputs: tuple[Output | Literal["states"], ...] = ("dense",)
    """What to return for each input. The model must have each of them. `states`, the states of tokens before the
    pooling, are returned as multi-vectors."""
    top_k: int | None = None
    """Largest number of weights of a sparse vector; None: no limit."""
    min_weight: float = 0.0
    """Smallest weight of a sparse vector."""
    late_chunking: bool = False
    """Read all inputs as one text, and pool the vector of each from its own tokens."""
    spans: tuple[tuple[int, int], ...] | None = None
    """The chunks of the only input, in characters, for late chunking. The result has one vector for each."""
    input_name: str = "input"
    dimensions_name: str = "dimensions"


@dataclass(frozen=True, kw_only=True)
class RerankOptions:
    """What a rerank request may choose. `documents_name` is the client's name for them, for error messages."""

    instruction: str | None = None
    truncate: Truncate = "end"
    max_document_tokens: int | None = None
    """Maximum number of tokens to read from each document."""
    top_n: int | None = None
    """Number of results to return; None or 0: all."""
    raw_scores: bool = False
    priority: int = 0
    """Among waiting requests, those with a lower number run first."""
    documents_name: str = "documents"


DEFAULT_EMBEDDING_OPTIONS = EmbeddingOptions()
DEFAULT_RERANK_OPTIONS = RerankOptions()


@dataclass(slots=True)
class EmbeddingResult:
    """The requested outputs of N inputs, in their order."""

    vectors: Vectors | None
    """(N, D); None unless dense vectors were requested."""
    prompt_tokens: int
    truncated: list[TruncatedInput]
    timings: Timings = field(default_factory=Timings)
    sparse: list[SparseVector] | None = None
    multi_vectors: list[TokenVectors] | None = None

    @property
    def dense(self) -> Vectors:
        """The vectors of a request for dense vectors."""
        assert self.vectors is not None
        return self.vectors

    @property
    def token_vectors(self) -> list[TokenVectors]:
        """The same of a request for multi-vectors."""
        assert self.multi_vectors is not None
        return self.multi_vectors

    @property
    def sparse_vectors(self) -> list[SparseVector]:
        """The same of a request for sparse vectors."""
        assert self.sparse is not None
        return self.sparse

    @property
    def count(self) -> int:
        """Number of inputs, or of chunks."""
        return next(len(each) for each in (self.vectors, self.sparse, self.multi_vectors) if each is not None)

    @property
    def size(self) -> int:
        """Number of numbers in all outputs."""
        dense = 0 if self.vectors is None else self.vectors.size
        sparse = sum(2 * each.values.size for each in self.sparse or ())
        return dense + sparse + sum(each.vectors.size for each in self.multi_vectors or ())


@dataclass(slots=True)
class RerankResult:
    """A score from 0 to 1 for each document (N,), in the order of the documents; `raw` holds the model's own scores."""

    scores: Scores
    raw: Scores
    prompt_tokens: int
    truncated: list[TruncatedInput]
    timings: Timings = field(default_factory=Timings)


class Reranker(Protocol):
    """Anything that scores documents: a cross-encoder, an embedding model, a provider's API."""

    async def rerank(
        self, query: str, documents: Sequence[str], options: RerankOptions = DEFAULT_RERANK_OPTIONS
    ) -> RerankResult:
        """Score each document.

        InputTooLongError names the document if an input is too long and `options.truncate` is "refuse".
        """
        ...
