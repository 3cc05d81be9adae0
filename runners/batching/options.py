"""Options of a model's batcher, set once when the model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field

from runners.batching.costs import Costs
from runners.contracts import TokenSequence
from runners.pool.memory import PassMemory, unlimited_memory


@dataclass(frozen=True, kw_only=True)
class BatchingOptions:
    """How one model's inputs are batched."""

    name: str
    """Name of the model, for metrics, logs and errors."""
    max_batch_tokens: int
    short_pass_tokens: int | None = None
    """Maximum tokens of a pass while much smaller requests wait for it; None: `max_batch_tokens`."""
    max_queued_tokens: int
    padding_cost: float = 1.0
    """See contracts.Backend."""
    concurrent_passes: int = 1
    """See contracts.Backend."""
    costs: Costs | None = None
    """Seconds of a pass by its shape, measured at load; None if unknown."""
    trial: TokenSequence | None = None
    """An input that was computed at load, for health checks."""
    memory: PassMemory = field(default_factory=unlimited_memory)
