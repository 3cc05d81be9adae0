"""Runs in a child process: measures the memory that a pass over long texts takes and keeps."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import runners.backends.torch  # noqa: F401  # else the first pass that torch computes would take its memory
from models.catalog import ModelSpec
from models.store import StoredModel
from runners.contracts import BatchShape, TokenSequence
from runners.devices import Device, return_memory
from runners.loading import load_backend
from settings import Settings

Task = tuple[ModelSpec, StoredModel, Device, Settings, tuple[int, ...]]
"""A model, its device and settings, and the lengths of the texts of one pass."""


def main() -> None:
    """Run the pickled tasks in the file of the first argument; print a JSON list of measurements."""
    tasks: list[Task] = pickle.loads(Path(sys.argv[1]).read_bytes())  # written by our test
    sys.stdout.write(json.dumps([measure(*task) for task in tasks]) + "\n")


def measure(
    spec: ModelSpec, stored: StoredModel, device: Device, settings: Settings, lengths: tuple[int, ...]
) -> dict[str, Any]:
    """The rows of one pass over texts of these lengths, and its bytes: estimated, peak and kept."""
    segments = stored.facts.token_type_ids
    texts = [TokenSequence([10 + place % 90 for place in range(n)], [0] * n if segments else None) for n in lengths]
    backend = load_backend(spec, stored, device, settings)
    backend.forward([TokenSequence(texts[0].input_ids[:64], [0] * 64 if segments else None)])
    return_memory()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
    rows = backend.forward(texts)
    peak = resident("VmHWM")
    return_memory()
    kept = resident("VmRSS") - before
    backend.close()
    estimate = backend.pass_bytes(BatchShape.of(list(lengths)))
    return {"estimate": estimate, "peak": peak - before, "kept": kept, "rows": rows.tolist()}


def resident(field: str) -> int:
    """Bytes of a value in /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
