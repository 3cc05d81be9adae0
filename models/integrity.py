"""Check whether stored models are intact and match the catalogue."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from models.catalog import ModelSpec
from models.files import digest, relative_files, sync
from models.store import StoredModel

MANIFEST = "files.json"
"""Lists the digests of a folder that ModelFacts does not describe."""

_SAMPLES = 32
_SAMPLE_BYTES = 4096

Measure = Callable[[Path], str]


def fingerprint(path: Path) -> str:
    """A file's size and a hash of samples from across the file; takes milliseconds for any size.

    It detects truncated files and those with zeroed ranges after a power failure. Only digests detect a single flipped
    bit (./embeddings verify).
    """
    samples = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            samples.update(file.read(_SAMPLE_BYTES))
    return f"{size}-{samples.hexdigest()[:16]}"


def fingerprints(folder: Path) -> dict[str, str]:
    """File name -> fingerprint, for all files below a folder."""
    return {name: fingerprint(folder / name) for name in relative_files(folder)}


def find_flaw(spec: ModelSpec, stored: StoredModel, *, thorough: bool = False) -> str | None:
    """Describe the damage to a stored model or its difference from the catalogue; None if there is neither.

    Reads samples of each file, or whole files if `thorough`.
    """
    names = damaged_files(stored, thorough=thorough)
    if names:
        return f"{', '.join(names[:5])} in {stored.folder} {'is' if len(names) == 1 else 'are'} damaged or missing"
    return find_difference(spec, stored)


def damaged_files(stored: StoredModel, *, thorough: bool = False) -> list[str]:
    """Names of the stored files that have changed since the import."""
    if thorough:
        return _differing(stored.folder, stored.facts.sha256, digest)
    return _differing(stored.folder, stored.facts.fingerprints, fingerprint)


def find_difference(spec: ModelSpec, stored: StoredModel) -> str | None:
    """Describe the difference between the catalogue and the import, if it affects the stored files."""
    facts = stored.facts
    if spec.from_repository:
        return None
    if spec.revision is not None and not facts.local and facts.revision != spec.revision:
        return f"it is revision {facts.revision[:12]}, but the catalogue has {spec.revision[:12]}"
    then, now = facts.import_options, spec.import_options  # `then` is empty for imports of earlier versions
    changed = [name for name in then if then[name] != now.get(name, then[name])]
    if changed:
        old, new = (", ".join(f"{name} {options[name]}" for name in changed) for options in (then, now))
        return f"it was imported with {old}, but the catalogue now has {new}"
    return None


def repair_command(spec: ModelSpec, stored: StoredModel) -> str:
    """The command that imports a model again."""
    command = f"./embeddings import {spec.name}"
    if stored.facts.local and spec.package is None:
        return f"{command} --from-dir FOLDER, with the original folder"
    return command


def write_manifest(folder: Path) -> None:
    """Record the digests of a finished folder."""
    content = {name: [fingerprint(folder / name), digest(folder / name)] for name in relative_files(folder)}
    (folder / MANIFEST).write_text(json.dumps(content, indent=2), encoding="utf-8")
    sync(folder)


@contextmanager
def finished_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that replaces it, with a manifest, if the block ends without an error.

    A process that is killed leaves only a folder named `tmp*`.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        yield Path(work)
        write_manifest(Path(work))
        shutil.rmtree(target, ignore_errors=True)
        os.rename(work, target)  # atomic
        Path(work).mkdir()  # TemporaryDirectory removes it


def is_whole(folder: Path, *, thorough: bool = False) -> bool:
    """Whether a folder matches its manifest; True without a manifest."""
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
