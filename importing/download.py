"""Fetch the files of a repository that an import needs, and no others, from the Hub or a mirror.

A mirror is trusted with the weights, not with the disk: names that it lists are checked before they become paths.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from errors import ModelUnavailableError
from importing import disk
from models.catalog import ModelSpec
from models.files import digest
from settings import Settings

_SMALL_FILES = (
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "entity_vocab.json",
    "sentencepiece.bpe.model",
    "spm.model",
    "spiece.model",
    "tokenizer.model",
    "chat_template.jinja",
    "[0-9]_*/config.json",
)
INDEX, PICKLE_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"
_SAFETENSORS = ("model.safetensors", "model-*-of-*.safetensors", INDEX)
_PICKLES = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", PICKLE_INDEX)
_LAYER_WEIGHTS = ("[0-9]_*/model.safetensors", "[0-9]_*/pytorch_model.bin")

COMMIT = re.compile(r"[0-9a-f]{40}")
_SEGMENT = re.compile(r"[^/\\\x00-\x1f\x7f]+")
"""A part of a path: no separator of any system, no control character."""

_WATCH_S = 0.5
_PARALLEL_FILES = 4

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes in all."""


def local_path(spec: ModelSpec, settings: Settings) -> Path:
    """The model's folder below RERANKER_MODELS_DIR: `<org>_<name>/`."""
    return settings.reranker_models_dir / spec.repo.replace("/", "_")


@dataclass(frozen=True)
class Snapshot:
    """A folder that holds one commit of a repository."""

    folder: Path
    revision: str
    ours: bool = True
    """Whether it is a working folder of ours; somebody else's may change at any time."""


def needed_files(names: list[str]) -> list[str]:
    """Of a repository's files, those that an import reads: safetensors before pickle, no onnx, no code.

    All of them lie in the repository's folder or one level below it, whatever the list says.
    """

    def matching(patterns: tuple[str, ...]) -> list[str]:
        return [name for name in names if any(_matches(name, pattern) for pattern in patterns)]

    weights = matching(_SAFETENSORS)
    if not any(name.endswith(".safetensors") for name in weights):
        weights = matching(_PICKLES)
    layers = [
        name
        for name in matching(_LAYER_WEIGHTS)
        if name.endswith(".safetensors") or name.replace("pytorch_model.bin", "model.safetensors") not in names
    ]
    return matching(_SMALL_FILES) + weights + layers


def _matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern part by part: `*` stands for no `/`, no `..` and no control character."""
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        part not in (".", "..") and _SEGMENT.fullmatch(part) and fnmatch.fnmatchcase(part, each)
        for part, each in zip(parts, wanted, strict=True)
    )


def download(spec: ModelSpec, folder: Path, settings: Settings, progress: Progress) -> Snapshot:
    """Fetch into `folder`, going on where an earlier try stopped; ModelUnavailableError says what failed."""
    import httpx2
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    from huggingface_hub.utils import build_hf_headers

    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    where = f"{spec.repo} from {settings.hf_endpoint}"
    total = 0
    try:
        info = HfApi(endpoint=settings.hf_endpoint, token=token).model_info(
            spec.repo, revision=spec.revision, files_metadata=True, timeout=30
        )
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        wanted = needed_files(list(sizes))
        revision = _commit(spec, info.sha, settings.hf_endpoint)
        total = sum(sizes[name] for name in wanted)
        folder = folder / revision[:12]  # files of another commit must not be taken for this one's
        disk.require_space(folder, total - _bytes_below(folder), f"the download of {spec.repo}")

        def fetch(name: str) -> None:
            url = hf_hub_url(spec.repo, name, revision=revision, endpoint=settings.hf_endpoint)
            _fetch(url, folder / name, sizes[name], build_hf_headers(token=token))

        with _watched(folder, total, progress), ThreadPoolExecutor(_PARALLEL_FILES) as threads:
            list(threads.map(fetch, wanted))
    except GatedRepoError:
        raise ModelUnavailableError(
            f"{where} is gated: accept its terms on the Hub and set HF_TOKEN to a token of that account."
        ) from None
    except RepositoryNotFoundError:
        raise ModelUnavailableError(
            f"{where}: no such repository, or a private one and HF_TOKEN does not open it."
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise ModelUnavailableError(f"Downloading {where} failed with status {status}. Try again.") from error
    except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
        if isinstance(error, OSError) and disk.is_ours(error):
            raise _not_written(error, folder, total, spec) from error
        raise ModelUnavailableError(
            f"Downloading {where} failed ({type(error).__name__}). Check the network, HF_ENDPOINT and the proxy "
            f"variables, or put the files into {local_path(spec, settings)}."
        ) from error
    _verify(spec, folder, {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs}, wanted)
    return Snapshot(folder, revision)


def _commit(spec: ModelSpec, named: str | None, endpoint: str) -> str:
    """The commit that a Hub names, which becomes part of paths; ModelUnavailableError unless it is the pinned one."""
    if named is None or not COMMIT.fullmatch(named) or named != (spec.revision or named):
        raise ModelUnavailableError(
            f"{endpoint} does not answer as a Hub does: for {spec.repo} it names no commit, or another than was asked "
            "for. Check HF_ENDPOINT."
        )
    return named


def _not_written(error: OSError, folder: Path, total: int, spec: ModelSpec) -> ModelUnavailableError:
    """Why a download could not be written. What it has of unfinished files goes where the disk is full."""
    missing = max(0, total - _bytes_below(folder))
    if disk.is_full(error):
        for partial in folder.rglob("*.partial"):
            missing += partial.stat().st_size
            partial.unlink()
    return disk.write_problem(error, folder, missing, f"the download of {spec.repo}")


def shallow_files(folder: Path) -> list[str]:
    """Relative names of the files in a folder and one level below it, through links, in order."""
    names = []
    for path in folder.iterdir():
        if path.is_dir():
            names += [f"{path.name}/{inner.name}" for inner in path.iterdir() if inner.is_file()]
        elif path.is_file():
            names.append(path.name)
    return sorted(names)


def _fetch(url: str, target: Path, size: int, headers: dict[str, str]) -> None:
    """Fetch one file, going on inside it where an earlier try stopped.

    hf_hub_download would delete the part that is here when it gives up: a day's work on a slow line.
    """
    from huggingface_hub.file_download import http_get

    if target.is_file() and target.stat().st_size == size:
        return
    partial = target.with_name(f"{target.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    with partial.open("r+b") as file:
        present = file.seek(0, os.SEEK_END)
        if present > size:  # not what the Hub has now
            present = file.seek(0)
            file.truncate()
        http_get(url, file, resume_size=present, headers=headers, expected_size=size)
    os.replace(partial, target)


def _verify(spec: ModelSpec, folder: Path, digests: dict[str, str], wanted: list[str]) -> None:
    """Compare each file with the digest that the Hub names: the client itself looks at the size only."""
    for name in wanted:
        path = folder / name
        if name in digests and digest(path) != digests[name]:
            path.unlink()
            raise ModelUnavailableError(f"{spec.repo}: {name} arrived damaged (wrong SHA-256). Try again.")


@contextlib.contextmanager
def _watched(folder: Path, total: int, progress: Progress) -> Iterator[None]:
    """Report the bytes on disk twice a second: partial files count, and a resumed download starts where it is."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_S):
            progress(min(_bytes_below(folder), total), total)

    thread = threading.Thread(target=watch, name="download-progress", daemon=True)
    progress(0, total)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    progress(total, total)


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a partial file is renamed while we look
            total += path.stat().st_size if path.is_file() else 0
    return total
