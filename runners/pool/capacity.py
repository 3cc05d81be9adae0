"""What a model needs of this machine, so that a request learns at once why it cannot be served."""

from __future__ import annotations

import importlib.util

from models.catalog import ModelSpec
from models.store import StoredModel
from runners.devices import Device, memory_bytes
from settings import Settings

WORKING_SHARE = 1.2
"""Memory in use over the weights' own size, for activations and the allocator."""
KEPT_BYTES = 2**28
"""Memory of passes that a model on a CPU keeps for the next one; what a larger pass took is given back after it."""
_FAST_LANE_PARAMETERS = 50_000_000
"""A second copy of MiniLM-L6 takes 58 MB, of a large model 659 MB (OPENVINO.md, section 5)."""
BYTES_PER_PARAMETER = {"float32": 4, "bfloat16": 2, "float16": 2}


def obstacle(spec: ModelSpec, device: Device, settings: Settings) -> str | None:
    """One sentence that says why this machine cannot serve the model and what to do; None where it can try."""
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
    """Bytes that a loaded model takes, with its second copy where it has one."""
    copies = 2 if has_fast_lane(parameters) else 1
    return int(parameters * BYTES_PER_PARAMETER[dtype] * WORKING_SHARE * copies)


def with_passes(needed: int, full_pass: int) -> tuple[int, int]:
    """What a model takes in all, and the part of it that is meant for its passes.

    `needed` holds WORKING_SHARE; small models with large passes take more, as OpenVINO keeps a pass's memory for the
    next one.
    """
    weights = int(needed / WORKING_SHARE)
    working = max(needed - weights, min(full_pass, KEPT_BYTES))
    return weights + working, working


def has_fast_lane(parameters: int) -> bool:
    """Whether a model is so small that a second copy for short texts costs little."""
    return parameters <= _FAST_LANE_PARAMETERS


def stored_memory_needed(_spec: ModelSpec, stored: StoredModel, device: Device) -> int:
    """Bytes that a stored model will take on this device."""
    return memory_needed(stored.facts.parameters, device.dtype)


def memory_budget(device: Device, settings: Settings) -> int:
    """Bytes that models may take on this device."""
    return int(memory_bytes(device) * settings.memory_fraction)
