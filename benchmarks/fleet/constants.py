"""What the work of a replica costs: the constants of the simulation, and the file of those that were measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from runners.batching.costs import Costs
from runners.batching.options import BatchingOptions

MEASURED = Path(__file__).with_name("constants.json")
"""Written by `python -m benchmarks.fleet measure`."""


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What passes cost, and how large they are."""

    costs: Costs
    """Seconds of a pass by its shape."""
    max_batch_tokens: int
    short_pass_tokens: int
    padding_cost: float
    """See contracts.Backend."""
    fast_lane: bool
    backend: str = ""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """One replica. Times are in seconds."""

    passes: Passes
    request_s: float
    """Time of the event loop for a request, beside its texts."""
    text_s: float
    """The same for each text."""
    shared_cores: bool
    """Whether passes and event loop share the cores, as on a CPU."""
    load_s: float
    """From the start of the process to its first answer."""
    workers: int = 1
    """Processes with an event loop each."""
    max_queued_tokens: int = 2_000_000

    @property
    def options(self) -> BatchingOptions:
        """The same for the batcher."""
        return BatchingOptions(
            name="simulated",
            max_batch_tokens=self.passes.max_batch_tokens,
            short_pass_tokens=self.passes.short_pass_tokens,
            max_queued_tokens=self.max_queued_tokens,
            padding_cost=self.passes.padding_cost,
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The measurements of one machine."""

    machine: dict[str, Any]
    """benchmarks/machine.py"""
    model: str
    replica: Constants
    bytes_of: dict[str, int]
    """Bytes of a request and its response with headers, for one search query, by `encoding_format`."""

    @classmethod
    def read(cls, path: Path = MEASURED) -> Measured:
        """The stored measurements."""
        return TypeAdapter(cls).validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Store them."""
        path.write_text(json.dumps(TypeAdapter(Measured).dump_python(self), indent=1) + "\n", encoding="utf-8")
