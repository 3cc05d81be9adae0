"""What a million search queries per second need of each part: what breaks first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.fleet.constants import Measured

PER_S = 1_000_000
LINK_BITS_PER_S = 10e9
"""Of one network card, in each direction."""
PROXY_CORE_PER_S = 2_040_000 / 64
"""HTTP requests/s of HAProxy 2.3 on each of 64 cores of a Graviton2, by its authors (haproxy.com, 2021)."""
DIMENSIONS, WIDE = 384, 1024
"""Of the measured model, and of models like bge-m3."""


@dataclass(frozen=True)
class Limit:
    """A part, the requests/s that one of it holds, and how many a million requests/s need."""

    part: str
    each_per_s: float

    @property
    def needed(self) -> float:
        """Number of this part for PER_S."""
        return PER_S / self.each_per_s


def bytes_per_request(measured: Measured, encoding: str, dimensions: int) -> float:
    """With headers. A number takes 16/3 bytes in base64, and about 12 as text."""
    sizes = measured.bytes_of
    per_dimension = 16 / 3 if encoding == "base64" else (sizes["float"] - sizes["base64"]) / DIMENSIONS + 16 / 3
    return sizes[encoding] + (dimensions - DIMENSIONS) * per_dimension


def limits(measured: Measured, replica_per_s: float) -> Iterator[Limit]:
    """The parts, the first to break first. `replica_per_s` is what the engine of a replica holds."""
    replica = measured.replica
    found = [
        Limit("engine: one replica", replica_per_s),
        Limit("front end: one event loop (`WORKERS`)", 1 / (replica.request_s + replica.text_s)),
        Limit("load balancer: one core of HAProxy", PROXY_CORE_PER_S),
    ]
    for dimensions in (DIMENSIONS, WIDE):
        for encoding in ("float", "base64"):
            per_s = LINK_BITS_PER_S / 8 / bytes_per_request(measured, encoding, dimensions)
            found.append(Limit(f"10 Gbit/s: vectors of {dimensions} numbers, `{encoding}`", per_s))
    yield from sorted(found, key=lambda limit: limit.each_per_s)
