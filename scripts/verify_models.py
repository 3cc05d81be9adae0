"""Verify stored models: compare files with their digests, results with sentence-transformers and published numbers.

Exit status: 0 if all checks passed, 1 if one failed, 2 if the command is invalid.
"""

from __future__ import annotations

import argparse
import sys

from errors import ModelNotFoundError, ModelUnavailableError
from models.catalog import CatalogError, ModelSpec
from models.goldens import goldens_of
from models.integrity import find_flaw, is_whole, repair_command
from models.store import ModelStore, StoredModel, open_catalog
from runners.devices import Device, DeviceError, detect
from settings import Settings, SettingsError, bentoml_home, load_settings
from startup import StartError, check_home

_ROW = "{:32} {:14} {:>12} {:>10}  {}\n"


def main(arguments: list[str] | None = None) -> int:
    """Print a table: model, compared values, largest difference, tolerance, verdict."""
    parser = argparse.ArgumentParser(prog="scripts/verify_models", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--model", nargs="+", default=[], metavar="NAME", help="names of the models; default: all stored models"
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        store = ModelStore()
        catalog = open_catalog(settings, store)
        specs = [catalog.get(name) for name in options.model] or list(catalog)
        device = detect(settings)
        check_home(bentoml_home(), imports=False)
    except (SettingsError, CatalogError, ModelNotFoundError, DeviceError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found = [(spec, stored) for spec in specs if (stored := store.find(spec)) is not None]
    missing = [spec.name for spec in specs if spec.name not in {there.name for there, _ in found}]
    if missing and options.model:
        sys.stderr.write(
            f"not in the model store: {', '.join(missing)}. List the stored models with scripts/import_models --list.\n"
        )
        return 1
    sys.stdout.write(_ROW.format("model", "compared", "difference", "tolerance", "verdict"))
    verdicts = [_verify(spec, stored, device, settings) for spec, stored in found]
    return 0 if all(verdicts) else 1


def _verify(spec: ModelSpec, stored: StoredModel, device: Device, settings: Settings) -> bool:
    from importing.verify import compare
    from runners.loading import load_model, measured_speeds

    wrong = find_flaw(spec, stored, thorough=True) or _damaged_export(stored, device, settings)
    if wrong:
        verdict = f"FAIL  {wrong}. Run: {repair_command(spec, stored)}"
        sys.stdout.write(_ROW.format(spec.name, "files", "-", "-", verdict))
        return False
    if speeds := measured_speeds(stored, device, settings):
        listed = ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items())
        sys.stdout.write(_ROW.format(spec.name, "tokens/s", "-", "-", listed))
    if device.requested_dtype == "int8":
        sys.stdout.write(_ROW.format(spec.name, "int8", "-", "-", _int8_cost(stored)))
    compared = _compare_with_reference(spec, stored, settings)
    goldens = goldens_of(spec.name)
    if not goldens:
        sys.stdout.write(_ROW.format(spec.name, "-", "-", "-", "there are no published numbers"))
        return compared
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


def _damaged_export(stored: StoredModel, device: Device, settings: Settings) -> str | None:
    """A description of damaged OpenVINO files; None if they are intact."""
    from runners.loading import wants_openvino

    if wants_openvino(device, settings):
        from runners.backends.openvino import export_folder, weights_for

        folder = export_folder(stored.folder, weights_for(device.requested_dtype))
        if not is_whole(folder, thorough=True):
            return f"the files in {folder} are damaged or missing"
    return None


def _compare_with_reference(spec: ModelSpec, stored: StoredModel, settings: Settings) -> bool:
    """Repeat the comparison of the import."""
    from importing.reference import unverifiable
    from importing.verify import LARGEST_DIFFERENCE, LOWEST_COSINE, verify

    what, tolerance = ("vectors", 1 - LOWEST_COSINE) if spec.kind == "embedding" else ("scores", LARGEST_DIFFERENCE)
    problem = unverifiable(spec, stored)
    if problem is None:
        try:
            found = verify(spec, stored, settings)
        except ModelUnavailableError as error:
            sys.stdout.write(_ROW.format(spec.name, what, "-", "-", f"FAIL  {error.message}"))
            return False
        problem = found.problem
    if problem:
        verdict = f"not compared with sentence-transformers: {problem}"
        sys.stdout.write(_ROW.format(spec.name, what, "-", "-", verdict))
        return True
    difference = found.largest_difference if found.lowest_cosine is None else 1 - found.lowest_cosine
    verdict = f"pass  {found.by}, {found.texts} texts"
    sys.stdout.write(_ROW.format(spec.name, what, f"{difference:.1g}", f"{tolerance:.1g}", verdict))
    return True


def _int8_cost(stored: StoredModel) -> str:
    """The accuracy that the conversion measured."""
    from runners.backends.openvino import find_export

    found = find_export(stored.folder, "int8")
    report = found[1] if found else {"f32": "not converted"}
    return report.get("cost") or f"refused: {report['f32']}"


if __name__ == "__main__":
    sys.exit(main())
