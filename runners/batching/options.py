"""Options of a model's batcher, set once when the model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field

from runners.batching.planning import CALL_COST_TOKENS
from runners.contracts import TokenSequence
from runners.pool.memory import PassMemory, unlimited


@dataclass(frozen=True, kw_only=True)
class BatchingOptions:
    """How one model's inputs are batched."""

    name: str
    """Name of the model, for metrics, logs and errors."""
    max_batch_tokens: int
    max_queued_tokens: int
    padding_cost: float = 1.0
    """See contracts.Backend."""
    concurrent_passes: int = 1
    """See contracts.Backend."""
    call_cost_tokens: int = CALL_COST_TOKENS
    """Fixed cost of one forward pass, in tokens."""
    tokens_per_s: float = 0.0
    """Throughput measured at load; 0 if unknown."""
    trial: TokenSequence | None = None
    """An input that was computed at load, for health checks."""
    memory: PassMemory = field(default_factory=unlimited)
