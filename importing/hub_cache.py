"""Read repositories from the Hugging Face cache, for machines without access to the Hub."""

from __future__ import annotations

import json
import re
from pathlib import Path

from errors import ModelUnavailableError
from importing.download import COMMIT, HEADS, INDEX, PICKLE_INDEX, Snapshot, needed_files, shallow_files
from models.catalog import ModelSpec
from models.files import digest
from settings import Settings

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_offline(settings: Settings) -> bool:
    """Whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids requests to the Hub."""
    from huggingface_hub.constants import is_offline_mode

    return settings.hf_hub_offline or bool(is_offline_mode())


def cached_snapshot(spec: ModelSpec) -> Snapshot:
    """The repository in the Hugging Face cache, without any request; ModelUnavailableError if it is incomplete."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=spec.hub_repo, repo_type="model")
    main = cache / "refs" / "main"
    revision = spec.revision or (main.read_text(encoding="utf-8").strip() if main.is_file() else "")
    folder = cache / "snapshots" / revision
    names = needed_files(shallow_files(folder), spec.adapter) if COMMIT.fullmatch(revision) and folder.is_dir() else []
    missing = [] if set(HEADS) & set(names) else ["config.json"]
    missing += _missing_weights(folder, names)
    if missing:
        commit = f" at revision {spec.revision}" if spec.revision else ""
        option = f" --revision {spec.revision}" if spec.revision else ""
        raise ModelUnavailableError(
            f"HF_HUB_OFFLINE is set, and {spec.hub_repo}{commit} is incomplete in the Hugging Face cache "
            f"{constants.HF_HUB_CACHE} (missing: {', '.join(missing[:5])}). On a machine with network access, run: "
            f"hf download {spec.hub_repo}{option}"
        )
    blobs = {name: (folder / name).resolve().name for name in names}  # LFS files are named after their digests
    for name in names:
        if _SHA256.fullmatch(blobs[name]) and digest(folder / name) != blobs[name]:
            raise ModelUnavailableError(f"{spec.repo}: {name} is damaged in the Hugging Face cache ({folder}).")
    return Snapshot(folder, revision, private=False)


def _missing_weights(folder: Path, names: list[str]) -> list[str]:
    """Weight files that a folder lacks, according to its index if it has one."""
    for index in (INDEX, PICKLE_INDEX):
        if index in names:
            return sorted(_shards(folder / index) - set(names))
    weights = [name for name in names if name.endswith((".safetensors", ".bin"))]
    return [] if weights else ["model.safetensors"]


def _shards(index: Path) -> set[str]:
    """The weight files listed in an index; an entry for the index itself if it cannot be read."""
    try:
        return set(map(str, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return {f"a readable {index.name}"}
