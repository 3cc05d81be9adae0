"""Check a stored model again: its files, its results, and published numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from errors import ModelUnavailableError
from importing.reference import unverifiable
from importing.verify import LARGEST_DIFFERENCE, LOWEST_COSINE, compare, verify
from models.catalog import ModelSpec
from models.goldens import goldens_of
from models.integrity import find_flaw, is_whole, repair_command
from models.store import StoredModel
from runners.devices import Device
from runners.loading import load_model, measured_speeds, wants_openvino
from settings import Settings


@dataclass(frozen=True)
class Check:
    """One result: what was compared, the largest difference and its tolerance if there are any, and the verdict."""

    model: str
    compared: str
    verdict: str
    passed: bool = True
    difference: float | None = None
    tolerance: float | None = None


def recheck(spec: ModelSpec, stored: StoredModel, device: Device, settings: Settings) -> Iterator[Check]:
    """The results of all checks of a stored model; the first one if its files are damaged."""
    wrong = find_flaw(spec, stored, thorough=True) or _damaged_export(stored, device, settings)
    if wrong:
        yield Check(spec.name, "files", f"FAIL  {wrong}. Run: {repair_command(spec, stored)}", passed=False)
        return
    if speeds := measured_speeds(stored, device, settings):
        yield Check(spec.name, "tokens/s", ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items()))
    if device.requested_dtype == "int8":
        yield Check(spec.name, "int8", _int8_cost(stored))
    yield _compare_with_reference(spec, stored, settings)
    yield from _compare_with_goldens(spec, stored, device, settings)


def _damaged_export(stored: StoredModel, device: Device, settings: Settings) -> str | None:
    """A description of damaged OpenVINO files; None if they are intact."""
    if wants_openvino(device, settings):
        from runners.backends.openvino import export_folder, weights_for

        folder = export_folder(stored.folder, weights_for(device.requested_dtype))
        if not is_whole(folder, thorough=True):
            return f"the files in {folder} are damaged or missing"
    return None


def _int8_cost(stored: StoredModel) -> str:
    """The accuracy that the conversion measured."""
    from runners.backends.openvino import find_export

    found = find_export(stored.folder, "int8")
    report = found[1] if found else {"f32": "not converted"}
    return report.get("cost") or f"refused: {report['f32']}"


def _compare_with_reference(spec: ModelSpec, stored: StoredModel, settings: Settings) -> Check:
    """Repeat the comparison of the import."""
    what, tolerance = ("vectors", 1 - LOWEST_COSINE) if spec.kind == "embedding" else ("scores", LARGEST_DIFFERENCE)
    problem = unverifiable(spec, stored)
    if problem is None:
        try:
            found = verify(spec, stored, settings)
        except ModelUnavailableError as error:
            return Check(spec.name, what, f"FAIL  {error.message}", passed=False)
        problem = found.problem
    if problem:
        return Check(spec.name, what, f"not compared with sentence-transformers: {problem}")
    difference = found.largest_difference if found.lowest_cosine is None else 1 - found.lowest_cosine
    verdict = f"pass  {found.by}, {found.texts} texts"
    return Check(spec.name, what, verdict, difference=difference, tolerance=tolerance)


def _compare_with_goldens(spec: ModelSpec, stored: StoredModel, device: Device, settings: Settings) -> Iterator[Check]:
    """Recompute published numbers."""
    goldens = goldens_of(spec.name)
    if not goldens:
        yield Check(spec.name, "-", "there are no published numbers")
        return
    try:
        model = load_model(spec, stored, device, settings, measure=False)
    except ModelUnavailableError as error:
        yield Check(spec.name, "-", f"FAIL  {error.message}", passed=False)
        return
    assert model.engine is not None
    try:
        results = [compare(golden, model.engine) for golden in goldens]
    finally:
        model.close()
    for result in results:
        golden = result.golden
        verdict = "pass" if result.passed else f"FAIL  expected as {golden.source}"
        numbers = {"difference": result.difference, "tolerance": golden.tolerance}
        yield Check(spec.name, golden.what, verdict, passed=result.passed, **numbers)
