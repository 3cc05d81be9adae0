"""In a process of its own: what one pass over long texts takes, and what it keeps, beside the estimate."""

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
"""A model, how to load it, and the lengths of the texts of one pass."""


def main() -> None:
    """The argument is a file with a pickled list of tasks; prints a JSON list with what each of them took."""
    tasks: list[Task] = pickle.loads(Path(sys.argv[1]).read_bytes())  # of our own test
    sys.stdout.write(json.dumps([measure(*task) for task in tasks]) + "\n")


def measure(
    spec: ModelSpec, stored: StoredModel, device: Device, settings: Settings, lengths: tuple[int, ...]
) -> dict[str, Any]:
    """Bytes of one pass over texts of these lengths: expected, taken and kept; and its rows."""
    segments = stored.facts.token_type_ids
    texts = [TokenSequence([10 + place % 90 for place in range(n)], [0] * n if segments else None) for n in lengths]
    backend = load_backend(spec, stored, device, settings)
    backend.forward([TokenSequence(texts[0].input_ids[:64], [0] * 64 if segments else None)])
    return_memory()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM counts from here on
    rows = backend.forward(texts)
    peak = resident("VmHWM")
    return_memory()
    kept = resident("VmRSS") - before
    backend.close()
    estimate = backend.pass_bytes(BatchShape.of(list(lengths)))
    return {"estimate": estimate, "peak": peak - before, "kept": kept, "rows": rows.tolist()}


def resident(field: str) -> int:
    """Bytes, by the kernel's name for them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
