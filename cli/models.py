"""The commands of the model store: import, list, remove and verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cli.output import fail, note, progress_bar, say
from cli.problems import by_name, fail_with_advice, refusing
from errors import ModelUnavailableError
from importing.child import write_progress
from importing.importer import import_model
from importing.recheck import Check, recheck
from models.catalog import Catalog, ModelSpec
from models.integrity import find_flaw
from models.store import ModelStore, StoredModel, open_catalog
from runners.devices import DeviceError, detect
from settings import Settings, bentoml_home, load_settings
from startup import check_home

_NOTHING_STORED = "No model is stored. Import one, for example with: ./embeddings import all-minilm-l6-v2"
_ROW = "{:32} {:14} {:>12} {:>10}  {}"


def import_models(
    names: Sequence[str], *, preload: bool, everything: bool, from_dir: Path | None, as_json: bool
) -> int:
    """Exit status: 0 if all are stored, 1 if a model failed."""
    with refusing(as_json=as_json):
        settings, store, catalog = _open()
        wanted = (*names, *(settings.preload_models if preload else ()))
        specs = [spec for spec in catalog if not spec.forwarded] if everything else []
        specs = specs or by_name(catalog.get_or_unlisted, wanted)
    if preload:
        specs = _without_forwarded(specs, as_json=as_json)
    elif not specs:
        return fail("Name the models to import, or use --preload or --all.", as_json=as_json, status=2)
    if from_dir and len(specs) != 1:
        return fail("--from-dir takes exactly one model.", as_json=as_json, status=2)
    failures = [spec for spec in specs if not _import(spec, store, settings, from_dir, as_json=as_json)]
    return 1 if failures else 0


def _open() -> tuple[Settings, ModelStore, Catalog]:
    settings, store = load_settings(), ModelStore()
    catalog = open_catalog(settings, store)
    check_home(bentoml_home(), imports=False)
    return settings, store, catalog


def _without_forwarded(specs: list[ModelSpec], *, as_json: bool) -> list[ModelSpec]:
    """The models of PRELOAD_MODELS that have weights. Models of a provider need no import."""
    for spec in specs:
        if spec.forwarded:
            text = f"{spec.repo} is forwarded to its provider; there is nothing to import"
            say(text, {"name": spec.name, "forwarded": True}, as_json=as_json)
    return [spec for spec in specs if not spec.forwarded]


def _import(spec: ModelSpec, store: ModelStore, settings: Settings, from_dir: Path | None, *, as_json: bool) -> bool:
    try:
        with progress_bar(f"Importing {spec.name}") as shown:
            progress = write_progress if as_json else shown
            stored = import_model(spec, store=store, settings=settings, progress=progress, from_dir=from_dir)
    except (ModelUnavailableError, DeviceError) as error:
        fail_with_advice(error, as_json=as_json, status=1)
        return False
    facts = stored.facts
    text = f"{facts.repo}  ->  {stored.tag}  ({facts.weight_bytes / 1e6:.0f} MB {facts.weight_dtype})"
    say(text, {"stored": stored.tag}, as_json=as_json)
    return True


def list_models(*, only_stored: bool, as_json: bool) -> int:
    """Exit status: 0."""
    with refusing(as_json=as_json):
        _, store, catalog = _open()
    shown = [(spec, stored) for spec in catalog if (stored := store.find(spec)) or not only_stored]
    for spec, stored in shown:
        _list(spec, stored, as_json=as_json)
    if not shown:
        note(_NOTHING_STORED)
    return 0


def _list(spec: ModelSpec, stored: StoredModel | None, *, as_json: bool) -> None:
    size = f"{spec.download_bytes / 1e6:.0f} MB to download" if spec.download_bytes else "size unknown"
    size = "forwarded" if spec.forwarded else size
    wrong = find_flaw(spec, stored) if stored else None
    state = f"stored as {stored.tag}{f', but {wrong}' if wrong else ''}" if stored else size
    event: dict[str, object] = {
        "name": spec.name,
        "kind": spec.kind,
        "repo": spec.repo,
        "stored": stored.tag if stored else None,
        "flaw": wrong,
    }
    style = "red" if wrong else "green" if stored else ""
    say(f"{spec.name:32} {spec.kind:10} {spec.repo:55} {state}", event, as_json=as_json, style=style)


def remove_models(names: Sequence[str], *, as_json: bool) -> int:
    """Exit status: 0, also for models that are not stored."""
    with refusing(as_json=as_json):
        _, store, catalog = _open()
        specs = by_name(catalog.get_or_unlisted, names)
    for spec in specs:
        count = store.remove(spec)
        text = f"{spec.repo}: {count} version{'' if count == 1 else 's'} removed"
        say(text, {"name": spec.name, "removed": count}, as_json=as_json)
    return 0


def verify_models(names: Sequence[str], *, as_json: bool) -> int:
    """Exit status: 0 if all checks passed, 1 if one failed or a named model is not stored."""
    with refusing(as_json=as_json):
        settings, store, catalog = _open()
        specs = by_name(catalog.get, names) or list(catalog)
        device = detect(settings)
    found = [(spec, stored) for spec in specs if (stored := store.find(spec)) is not None]
    missing = [spec.name for spec in specs if spec.name not in {there.name for there, _ in found}]
    if missing and names:
        message = (
            f"Not in the model store: {', '.join(missing)}. List the stored models with ./embeddings list --stored."
        )
        return fail(message, as_json=as_json, status=1)
    if not found:
        note(_NOTHING_STORED)
    elif not as_json:
        say(_ROW.format("model", "compared", "difference", "tolerance", "verdict"), {}, as_json=False)
    passed = True
    for spec, stored in found:
        for check in recheck(spec, stored, device, settings):
            passed = passed and check.passed
            _print(check, as_json=as_json)
    return 0 if passed else 1


def _print(check: Check, *, as_json: bool) -> None:
    numbers = (f"{each:.2g}" if each is not None else "-" for each in (check.difference, check.tolerance))
    text = _ROW.format(check.model, check.compared, *numbers, check.verdict)
    say(text, asdict(check), as_json=as_json, style="" if check.passed else "red")
