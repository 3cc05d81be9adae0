"""The requirements of a model, so that requests for one that this machine cannot serve fail at once."""

from __future__ import annotations

import importlib.util

from models.catalog import ModelSpec
from runners.devices import Device, memory_bytes
from settings import Settings

WORKING_SHARE = 1.2
"""Memory in use as a multiple of the weights' size; the rest is for activations and the allocator."""
KEPT_BYTES = 2**28
"""Memory that a model on a CPU keeps between passes; memory beyond it is freed after the pass."""
_FAST_LANE_PARAMETERS = 50_000_000
"""A second copy of MiniLM-L6 takes 58 MB, one of a large model 659 MB."""
BYTES_PER_PARAMETER = {"float32": 4, "bfloat16": 2, "float16": 2}


def unavailable_reason(spec: ModelSpec, device: Device, settings: Settings) -> str | None:
    """Why this machine cannot serve the model, and what to do; None if nothing is known to prevent it."""
    if spec.forwarded:
        if settings.cohere_api_key is None:
            return f"{spec.repo} has no public weights and is forwarded to Cohere's API: set COHERE_API_KEY."
        return None
    missing = [name for name in spec.requires if importlib.util.find_spec(name) is None]
    if missing:
        packages = " ".join(name.replace("_", "-") for name in missing)
        return f"{spec.name} needs Python packages that are not installed. Run: pip install {packages}"
    needed = memory_needed(spec.parameters or 0, device.dtype)
    budget = memory_budget(device, settings)
    if needed > budget:
        return (
            f"{spec.name} needs about {needed / 1e9:.1f} GB in {device.dtype}; the budget on {device.torch_name} is "
            f"{budget / 1e9:.1f} GB (MEMORY_FRACTION). Use a larger machine or a smaller model."
        )
    return None


def memory_needed(parameters: int, dtype: str) -> int:
    """Bytes that a loaded model takes, including its second copy if it has one."""
    copies = 2 if has_fast_lane(parameters) else 1
    return int(parameters * BYTES_PER_PARAMETER[dtype] * WORKING_SHARE * copies)


def with_passes(needed: int, full_pass: int) -> tuple[int, int]:
    """Total bytes of a model, and the part reserved for its passes.

    `needed` includes WORKING_SHARE. Small models with large passes take more, as OpenVINO keeps memory between passes.
    """
    weights = int(needed / WORKING_SHARE)
    working = max(needed - weights, min(full_pass, KEPT_BYTES))
    return weights + working, working


def has_fast_lane(parameters: int) -> bool:
    """Whether a model is small enough to keep a second copy for short texts."""
    return parameters <= _FAST_LANE_PARAMETERS


def memory_budget(device: Device, settings: Settings) -> int:
    """Bytes that models and passes may take on this device."""
    return int(memory_bytes(device) * settings.memory_fraction)
