"""Replicas with simple costs, whose queues have known solutions."""

from __future__ import annotations

from benchmarks.fleet.constants import Constants, Passes
from benchmarks.fleet.traffic import Request
from runners.batching.costs import Costs

TOKENS = 10
"""Of each text."""
PASS_S = 0.1


def constants(*, texts: int = 1, fast_lane: bool = False, request_s: float = 0.0, load_s: float = 0.0) -> Constants:
    """Passes of at most `texts` texts of TOKENS tokens take PASS_S, whatever their number."""
    passes = Passes(
        costs=Costs(PASS_S, 0.0),
        max_batch_tokens=texts * TOKENS,
        short_pass_tokens=texts * TOKENS,
        padding_cost=0.0,
        fast_lane=fast_lane,
    )
    return Constants(passes=passes, request_s=request_s, text_s=0.0, shared_cores=False, load_s=load_s)


def requests(times: list[float], texts: int = 1) -> list[Request]:
    """One request at each time."""
    return [Request("search", at, (TOKENS,) * texts) for at in times]
