"""Whether what lies in the store is still what was imported, and what the catalogue means now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from models.catalog import ModelSpec
from models.files import digest, relative_files, sync
from models.store import StoredModel

MANIFEST = "files.json"
"""Digests of a folder that is not described by ModelFacts, beside its files."""

_SAMPLES = 32
_SAMPLE_BYTES = 4096

Measure = Callable[[Path], str]


def fingerprint(path: Path) -> str:
    """A file's size and a hash of samples from its head to its tail: milliseconds, whatever the size.

    It tells files that were cut off, and those of which a power failure left stretches of zeros. A single bit may
    escape it; digests find that (scripts/verify_models).
    """
    samples = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            samples.update(file.read(_SAMPLE_BYTES))
    return f"{size}-{samples.hexdigest()[:16]}"


def fingerprints(folder: Path) -> dict[str, str]:
    """File name -> fingerprint of every file below a folder."""
    return {name: fingerprint(folder / name) for name in relative_files(folder)}


def flaw(spec: ModelSpec, stored: StoredModel, *, thorough: bool = False) -> str | None:
    """What is wrong with a stored model, in a phrase; None where it may be served.

    Reads a few samples of each file, with `thorough` all of it.
    """
    names = damaged_files(stored, thorough=thorough)
    if names:
        return f"{', '.join(names[:5])} in {stored.folder} {'is' if len(names) == 1 else 'are'} damaged or missing"
    return outdated(spec, stored)


def damaged_files(stored: StoredModel, *, thorough: bool = False) -> list[str]:
    """Names of the stored files that are not what was imported."""
    if thorough:
        return _differing(stored.folder, stored.facts.sha256, digest)
    return _differing(stored.folder, stored.facts.fingerprints, fingerprint)


def outdated(spec: ModelSpec, stored: StoredModel) -> str | None:
    """What the catalogue says now and did not say when the model was imported, where that changed its files."""
    facts = stored.facts
    if spec.revision is not None and not facts.local and facts.revision != spec.revision:
        return f"it is revision {facts.revision[:12]}, while the catalogue names {spec.revision[:12]}"
    then, now = facts.import_options, spec.import_options  # earlier versions recorded none
    changed = [name for name in then if then[name] != now.get(name, then[name])]
    if changed:
        was, says = (", ".join(f"{name} {options[name]}" for name in changed) for options in (then, now))
        return f"it was imported with {was}, while the catalogue now says {says}"
    return None


def repair(spec: ModelSpec, stored: StoredModel) -> str:
    """The command that imports a model anew."""
    command = f"scripts/import_models --model {spec.name}"
    if stored.facts.local and spec.package is None:
        return f"{command} --from-dir FOLDER, with the folder that it came from"
    return command


def write_manifest(folder: Path) -> None:
    """Note what is in a finished folder."""
    content = {name: [fingerprint(folder / name), digest(folder / name)] for name in relative_files(folder)}
    (folder / MANIFEST).write_text(json.dumps(content, indent=2), encoding="utf-8")
    sync(folder)


def is_whole(folder: Path, *, thorough: bool = False) -> bool:
    """Whether a folder still holds what its manifest says; without a manifest nothing is known to be missing."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        expected = {str(name): str(both[1 if thorough else 0]) for name, both in content.items()}
    except FileNotFoundError:
        return True
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        return False
    return not _differing(folder, expected, digest if thorough else fingerprint)


def _differing(folder: Path, expected: Mapping[str, str], measure: Measure) -> list[str]:
    return [name for name, value in expected.items() if _measured(folder / name, measure) != value]


def _measured(path: Path, measure: Measure) -> str | None:
    try:
        return measure(path)
    except OSError:
        return None
