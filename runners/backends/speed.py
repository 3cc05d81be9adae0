"""The ways to compute a model on this CPU, their measured speeds, and the fastest of them.

importing/speed.py measures once per processor and number of threads, and keeps the result beside the export.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from models.facts import ModelFacts
from models.files import write_text
from runners.backends.compiled_cache import processor
from runners.backends.openvino import Report, Weights, export_folder, find_export, passed_precisions, weights_for
from runners.contracts import BatchShape
from runners.devices import Device

SMALLEST_PARAMETERS = 5_000_000
"""Smaller models are not measured: any engine computes a text in less time than the request takes otherwise."""
LARGEST_PARAMETERS = 600_000_000
"""Larger models are not measured: it would load several copies of them at once."""
CORES_PER_STREAM = 4
"""A stream with fewer cores would make a lone request slower than it gains for many."""
NEEDED_ADVANTAGE = 1.25
"""How many times as fast as the usual way another one must be. Smaller differences may be noise."""


@dataclass(frozen=True)
class BackendConfig:
    """One way to compute a model: `streams` passes at a time, each on its share of the threads."""

    library: Literal["openvino", "torch"]
    precision: str
    streams: int = 1

    @property
    def name(self) -> str:
        """As GET /models and ./embeddings verify show it: `openvino bf16, 4 streams`."""
        return f"{self.library} {self.precision}{f', {self.streams} streams' if self.streams > 1 else ''}"


class MeasuredSpeeds(BaseModel, frozen=True):
    """Tokens per second of each candidate, by its name. Empty if the measurement did not end."""

    processor: str
    threads: int
    tokens_per_s: dict[str, float] = {}
    passes: dict[str, list[tuple[BatchShape, float]]] = {}
    """Trial passes of the fastest one and their seconds: a load need not repeat them."""


def candidates(report: Report, device: Device, *, torch: bool) -> list[BackendConfig]:
    """What the accuracy gate and DTYPE allow, the usual way first. `torch`: whether BACKEND allows it, too."""
    allowed = [
        BackendConfig("openvino", precision, streams)
        for precision in passed_precisions(report, device.requested_dtype)
        for streams in stream_counts(device.threads)
    ]
    if allowed and torch and device.requested_dtype in (None, "float32"):  # its bfloat16 has not passed the gate
        allowed.append(BackendConfig("torch", "f32"))
    return allowed


def stream_counts(threads: int) -> list[int]:
    """1, 2, 4, ... up to one stream per CORES_PER_STREAM threads."""
    counts = [1]
    while counts[-1] * 2 * CORES_PER_STREAM <= threads:
        counts.append(counts[-1] * 2)
    return counts


def fastest(allowed: Sequence[BackendConfig], tokens_per_s: Mapping[str, float]) -> BackendConfig:
    """The usual way (the first) unless another one was measured to be clearly faster."""
    usual = allowed[0]
    best = max(allowed, key=lambda config: tokens_per_s.get(config.name, 0.0))
    clearly = tokens_per_s.get(best.name, 0.0) >= NEEDED_ADVANTAGE * tokens_per_s.get(usual.name, float("inf"))
    return best if clearly else usual


def speeds_file(model_folder: Path, weights: Weights, threads: int) -> Path:
    """Where the speeds of an export on this processor are kept."""
    export = export_folder(model_folder, weights)
    machine = hashlib.sha256(f"{processor()}, {threads} threads".encode()).hexdigest()[:12]
    return export.parent / f"{export.name}-speed-{machine}.json"


def read_speeds(model_folder: Path, weights: Weights, threads: int) -> MeasuredSpeeds | None:
    """The speeds on this processor; None if they were not measured, or the file is damaged."""
    try:
        return MeasuredSpeeds.model_validate_json(speeds_file(model_folder, weights, threads).read_bytes())
    except (OSError, ValueError):
        return None


def write_speeds(model_folder: Path, weights: Weights, speeds: MeasuredSpeeds) -> None:
    """Keep the speeds of this processor."""
    write_text(speeds_file(model_folder, weights, speeds.threads), speeds.model_dump_json(indent=2))


def choose(model_folder: Path, device: Device, *, torch: bool) -> tuple[Path, BackendConfig] | None:
    """The export and the fastest way to compute a model; None if there is no export, or the gate let nothing pass."""
    weights = weights_for(device.requested_dtype)
    found = find_export(model_folder, weights)
    allowed = candidates(found[1], device, torch=torch) if found else []
    if found is None or not allowed:
        return None
    speeds = read_speeds(model_folder, weights, device.threads)
    return found[0], fastest(allowed, speeds.tokens_per_s if speeds else {})


def needs_measuring(model_folder: Path, facts: ModelFacts, device: Device, *, torch: bool) -> bool:
    """Whether the candidates should be measured on this processor. False where the result could not be kept."""
    weights = weights_for(device.requested_dtype)
    found = find_export(model_folder, weights)
    return (
        found is not None
        and SMALLEST_PARAMETERS <= facts.parameters <= LARGEST_PARAMETERS
        and len(candidates(found[1], device, torch=torch)) > 1
        and os.access(found[0].parent, os.W_OK)
        and read_speeds(model_folder, weights, device.threads) is None
    )
