"""Import models into the BentoML model store: download, convert, verify, register."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from errors import ModelNotFoundError, ModelUnavailableError
from importing.child import write_event, write_progress
from importing.download import Progress
from importing.importer import import_model
from models.catalog import Catalog, CatalogError, ModelSpec
from models.integrity import find_flaw
from models.store import ModelStore, StoredModel, open_catalog
from runners.devices import DeviceError
from settings import Settings, SettingsError, bentoml_home, load_settings
from startup import StartError, check_home

EXAMPLES = """examples:
  scripts/import_models sentence-transformers/LaBSE
  scripts/import_models --model bge-m3 jina-reranker-v2-multilingual
  scripts/import_models --model ruri-large --from-dir /data/ruri-large
  PRELOAD_MODELS=bge-m3,e5-base scripts/import_models --preload
  scripts/import_models --all
  scripts/import_models --list
  scripts/import_models --remove --model bge-m3
"""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 on success, 1 if a model failed, 2 if the command is invalid."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        settings = load_settings()
        store = ModelStore()
        catalog = open_catalog(settings, store)
        everything = [spec for spec in catalog if not spec.forwarded]
        names = (*options.names, *options.model, *(settings.preload_models if options.preload else ()))
        specs = everything if options.all else [catalog.get_or_unlisted(name) for name in names]
        check_home(bentoml_home(), imports=False)
    except (SettingsError, CatalogError, ModelNotFoundError) as error:
        return _fail(str(error), json_lines=options.json, status=2)
    except StartError as error:
        return _fail(str(error), json_lines=options.json, status=1)
    if options.list:
        return _list(catalog, store, json_lines=options.json)
    if options.preload:
        specs = _without_forwarded(specs, json_lines=options.json)
    elif not specs:
        message = "name the models with --model NAME..., or use --preload, --all or --list"
        return _fail(message, json_lines=options.json, status=2)
    if options.from_dir and len(specs) != 1:
        return _fail("--from-dir takes exactly one --model", json_lines=options.json, status=2)
    if options.remove:
        return _remove(specs, store, json_lines=options.json)
    failures = [spec for spec in specs if not _import(spec, store, settings, options)]
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/import_models",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="names of models; also full names of other repositories on the Hub"
    )
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME", help="the same; may follow other options")
    parser.add_argument(
        "--preload", action="store_true", help="import the models of PRELOAD_MODELS, which may be empty"
    )
    parser.add_argument("--all", action="store_true", help="import all models of the catalogue")
    parser.add_argument("--from-dir", type=Path, metavar="PATH", help="import one model from the files in this folder")
    parser.add_argument("--list", action="store_true", help="list all models and whether they are stored")
    parser.add_argument("--remove", action="store_true", help="remove the named models from the store")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line instead of text")
    return parser


def _without_forwarded(specs: list[ModelSpec], *, json_lines: bool) -> list[ModelSpec]:
    """The models of PRELOAD_MODELS that have weights. Models of a provider need no import."""
    for spec in specs:
        if spec.forwarded:
            text = f"{spec.repo} is forwarded to its provider; there is nothing to import"
            _say(text, {"name": spec.name, "forwarded": True}, json_lines=json_lines)
    return [spec for spec in specs if not spec.forwarded]


def _import(spec: ModelSpec, store: ModelStore, settings: Settings, options: argparse.Namespace) -> bool:
    report, finish = (write_progress, lambda: None) if options.json else _bar(spec)
    try:
        stored = import_model(spec, store=store, settings=settings, progress=report, from_dir=options.from_dir)
    except (ModelUnavailableError, DeviceError) as error:
        finish()
        _fail(str(error), json_lines=options.json, status=1)
        return False
    finish()
    _say(_describe(stored), {"stored": stored.tag}, json_lines=options.json)
    return True


def _describe(stored: StoredModel) -> str:
    facts = stored.facts
    return f"{facts.repo}  ->  {stored.tag}  ({facts.weight_bytes / 1e6:.0f} MB {facts.weight_dtype})"


def _list(catalog: Catalog, store: ModelStore, *, json_lines: bool) -> int:
    for spec in catalog:
        stored = store.find(spec)
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
        _say(f"{spec.name:32} {spec.kind:10} {spec.repo:55} {state}", event, json_lines=json_lines)
    return 0


def _remove(specs: list[ModelSpec], store: ModelStore, *, json_lines: bool) -> int:
    for spec in specs:
        count = store.remove(spec)
        text = f"{spec.repo}: {count} version{'' if count == 1 else 's'} removed"
        _say(text, {"name": spec.name, "removed": count}, json_lines=json_lines)
    return 0


def _bar(spec: ModelSpec) -> tuple[Progress, Callable[[], None]]:
    bar = tqdm(desc=spec.name, unit="B", unit_scale=True, disable=not sys.stderr.isatty())

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return report, bar.close


def _say(text: str, event: dict[str, object], *, json_lines: bool) -> None:
    if json_lines:
        write_event(event)
    else:
        sys.stdout.write(f"{text}\n")


def _fail(message: str, *, json_lines: bool, status: int) -> int:
    if json_lines:
        write_event({"error": message})
    else:
        sys.stderr.write(f"{message}\n")
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head` ends quietly
    sys.exit(main())
