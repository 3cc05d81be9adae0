"""The three commands of the simulation; each returns its exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from benchmarks.fleet.constants import Measured
from benchmarks.fleet.measure import measure
from benchmarks.fleet.report import tables, validation
from benchmarks.fleet.validate import validate

What = Literal["table", "validate", "measure"]


def run(what: What, *, constants: Path, cache: Path, seconds: float) -> int:
    """Print the tables; or compare with real replicas, each load for `seconds`; or write `constants`."""
    if what == "table":
        for text in tables(Measured.read(constants)):
            print(text, flush=True)
    elif what == "validate":
        found = validate(cache, seconds)
        print(validation(found))
        return 0 if all(each.within for each in found) else 1
    else:
        measure(cache).write(constants)
        print(f"Written to {constants}")
    return 0
