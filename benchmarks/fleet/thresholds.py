"""Which target of an autoscaler holds when traffic quadruples, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.fleet.autoscaling import Scaling
from benchmarks.fleet.constants import Constants
from benchmarks.fleet.fleet import simulate
from benchmarks.fleet.traffic import bulk, search, steps
from runners.batching.costs import TRIAL_TOKENS
from runners.contracts import BatchShape

SEED = 23
TEXTS = 32
"""Passages of a bulk request."""
TEXT_TOKENS = 60
"""Tokens of a passage, about."""
QUIET_SHARE, BUSY_SHARE = 0.6, 2.4
"""Traffic before and after, in the work of about as many replicas."""
SEARCHES_PER_S = 10.0
"""Of the quiet traffic."""
PHASES_S = (60.0, 480.0, 120.0)
"""Quiet, busy, quiet. The autoscaler does not remove replicas in this time (`down_s`)."""
QUEUES_S = (0.5, 2.0, 10.0, 30.0)
"""Targets of the queue, in seconds of a replica's work."""
BUSY_TARGETS = (0.5, 0.7)
LOADS_S = (10.0, 120.0)
"""From the decision to the first request: a small stored model; a large model, or a new node."""


@dataclass(frozen=True)
class Row:
    """What a target leads to."""

    search_s: float
    """p99 of search queries."""
    bulk_s: float
    """p99 of bulk requests."""
    replicas: int
    """At the end."""


def tokens_per_s(constants: Constants) -> float:
    """What a replica computes in full passes of passages."""
    tokens = constants.passes.short_pass_tokens
    return tokens / constants.passes.costs.of(BatchShape.of([TRIAL_TOKENS] * (tokens // TRIAL_TOKENS)))


def scalings(constants: Constants) -> Iterator[Scaling]:
    """The compared settings."""
    for seconds in QUEUES_S:
        yield Scaling(metric="queued tokens", target=seconds * tokens_per_s(constants))
    for share in BUSY_TARGETS:
        yield Scaling(metric="busy share", target=share)


def row(constants: Constants, scaling: Scaling, load_s: float) -> Row:
    """Simulate one setting."""
    bulk_per_s = tokens_per_s(constants) / (TEXT_TOKENS * TEXTS)  # of one replica
    quiet = [search(SEARCHES_PER_S), bulk(QUIET_SHARE * bulk_per_s, TEXTS)]
    busy = [kind.times(BUSY_SHARE / QUIET_SHARE) for kind in quiet]
    requests = steps(list(zip(PHASES_S, (quiet, busy, quiet), strict=True)), SEED)
    outcome = simulate(replace(constants, load_s=load_s), requests, replicas=1, scaling=scaling)
    return Row(
        outcome.percentile_s(0.99, "search"),
        outcome.percentile_s(0.99, "bulk"),
        outcome.sizes[-1][1],
    )
