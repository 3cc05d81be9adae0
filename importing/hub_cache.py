"""Repositories from the cache of Hugging Face's own tools, for machines that must not reach for the Hub."""

from __future__ import annotations

import json
import re
from pathlib import Path

from errors import ModelUnavailableError
from importing.download import COMMIT, INDEX, PICKLE_INDEX, Snapshot, needed_files, shallow_files
from models.catalog import ModelSpec
from models.files import digest
from settings import Settings

_SHA256 = re.compile(r"[0-9a-f]{64}")


def offline(settings: Settings) -> bool:
    """Whether nothing may be asked of the Hub; TRANSFORMERS_OFFLINE says so too."""
    from huggingface_hub.constants import is_offline_mode

    return settings.hf_hub_offline or bool(is_offline_mode())


def cached(spec: ModelSpec) -> Snapshot:
    """The repository in the cache of Hugging Face's own tools, without any request; ModelUnavailableError where it is
    not there, or not all of it."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    place = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=spec.repo, repo_type="model")
    main = place / "refs" / "main"
    revision = spec.revision or (main.read_text(encoding="utf-8").strip() if main.is_file() else "")
    folder = place / "snapshots" / revision
    names = needed_files(shallow_files(folder)) if COMMIT.fullmatch(revision) and folder.is_dir() else []
    missing = [] if "config.json" in names else ["config.json"]
    missing += _missing_weights(folder, names)
    if missing:
        commit = f" at revision {spec.revision}" if spec.revision else ""
        option = f" --revision {spec.revision}" if spec.revision else ""
        raise ModelUnavailableError(
            f"HF_HUB_OFFLINE is set, and the Hugging Face cache in {constants.HF_HUB_CACHE} does not have all of "
            f"{spec.repo}{commit} (missing: {', '.join(missing[:5])}). Where there is a network, run: "
            f"hf download {spec.repo}{option}"
        )
    blobs = {name: (folder / name).resolve().name for name in names}  # LFS files are named after their digests
    for name in names:
        if _SHA256.fullmatch(blobs[name]) and digest(folder / name) != blobs[name]:
            raise ModelUnavailableError(f"{spec.repo}: {name} is damaged in the Hugging Face cache ({folder}).")
    return Snapshot(folder, revision, ours=False)


def _missing_weights(folder: Path, names: list[str]) -> list[str]:
    """Weight files that a folder lacks, going by its index where it has one."""
    for index in (INDEX, PICKLE_INDEX):
        if index in names:
            return sorted(_shards(folder / index) - set(names))
    weights = [name for name in names if "/" not in name and name.endswith((".safetensors", ".bin"))]
    return [] if weights else ["model.safetensors"]


def _shards(index: Path) -> set[str]:
    """The files that an index names; itself where it cannot be read."""
    try:
        return set(map(str, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return {f"a readable {index.name}"}
