"""Recompute golden numbers with the imported models and say which deployments are right.

Exit status: 0 when every check passed, 1 when one failed, 2 when the command was wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from errors import ModelNotFoundError, ModelUnavailableError
from models.catalog import CatalogError, ModelSpec, load_catalog
from models.files import digest
from models.goldens import goldens_of
from models.store import ModelStore, StoredModel
from runners.devices import Device, DeviceError, detect
from settings import Settings, SettingsError, load_settings

_ROW = "{:32} {:14} {:>12} {:>10}  {}\n"


def main(arguments: list[str] | None = None) -> int:
    """Print a table: model, what was compared, largest difference, tolerance, verdict."""
    parser = argparse.ArgumentParser(prog="scripts/verify_models", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME", help="only these models; default: all stored")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        catalog = load_catalog(settings.extra_catalog)
        specs = [catalog.get(name) for name in options.model] or list(catalog)
        device = detect(settings)
    except (SettingsError, CatalogError, ModelNotFoundError, DeviceError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    store = ModelStore()
    found = [(spec, stored) for spec in specs if (stored := store.find(spec)) is not None]
    missing = [spec.name for spec in specs if spec.name not in {there.name for there, _ in found}]
    if missing and options.model:
        sys.stderr.write(f"not in the model store: {', '.join(missing)}. scripts/import_models --list shows what is.\n")
        return 1
    sys.stdout.write(_ROW.format("model", "compared", "difference", "tolerance", "verdict"))
    verdicts = [_verify(spec, stored, device, settings) for spec, stored in found]
    return 0 if all(verdicts) else 1


def _verify(spec: ModelSpec, stored: StoredModel, device: Device, settings: Settings) -> bool:
    from runners.loading import load_model
    from runners.probe import compare

    damaged = [name for name, expected in stored.facts.sha256.items() if not _intact(stored.folder / name, expected)]
    if damaged:
        sys.stdout.write(_ROW.format(spec.name, "sha256", "-", "-", f"FAIL  damaged or missing: {', '.join(damaged)}"))
        return False
    goldens = goldens_of(spec.name)
    if not goldens:
        sys.stdout.write(_ROW.format(spec.name, "-", "-", "-", "no golden numbers are published"))
        return True
    try:
        model = load_model(spec, stored, device, settings)
    except ModelUnavailableError as error:
        sys.stdout.write(_ROW.format(spec.name, "-", "-", "-", f"FAIL  {error.message}"))
        return False
    assert model.engine is not None
    try:
        results = [compare(golden, model.engine) for golden in goldens]
    finally:
        model.close()
    for result in results:
        verdict = "pass" if result.passed else f"FAIL  expected as {result.golden.source}"
        numbers = f"{result.difference:.2g}", f"{result.golden.tolerance:g}"
        sys.stdout.write(_ROW.format(spec.name, result.golden.what, *numbers, verdict))
    return all(result.passed for result in results)


def _intact(path: Path, expected: str) -> bool:
    return path.is_file() and digest(path) == expected


if __name__ == "__main__":
    sys.exit(main())
