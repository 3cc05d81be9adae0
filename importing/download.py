"""Download the files of a repository that an import needs, from the Hub or a mirror.

File names are checked before they become paths, so that a mirror cannot write outside the target folder.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
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

logger = logging.getLogger("service.models")

_SMALL_FILES = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "*tokenizer_config.json",
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
    "router_config.json",
    "sentence_*_config.json",
    "wordembedding_config.json",
    "lstm_config.json",
    "cnn_config.json",
    "artifact.metadata",
    "idf.json",
    "sparse_linear.pt",
    "colbert_linear.pt",
)
_MODULE_FOLDERS = ("[0-9]*_*", "*_[0-9]*_*")
_INSIDE = ("", *(f"/{folder}" for folder in _MODULE_FOLDERS))
"""Folders of sentence-transformers' modules: `1_Pooling`, and `query_0_Transformer` of a Router, which may be inside
`1_Router`."""
INDEX, PICKLE_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"
_SAFETENSORS = ("model.safetensors", "model-*-of-*.safetensors", INDEX)
_PICKLES = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", PICKLE_INDEX)
ADAPTER = "adapter_config.json"
_ADAPTER_FILES = (ADAPTER, "adapter_model.safetensors", "adapter_model.bin")
"""Of a repository that has no network of its own (importing/adapters.py)."""

HEADS = ("config.json", "modules.json", ADAPTER)
"""The files of which every checkpoint has one: those of transformers, sentence-transformers and PEFT."""
CARD = "README.md"
"""The model card, whose head has the licence and the languages."""
COMMIT = re.compile(r"[0-9a-f]{40}")
_SEGMENT = re.compile(r"[^/\\\x00-\x1f\x7f]+")
"""A path segment: no separator of any system, no control character."""

_REPORT_S = 0.5
_PARALLEL_FILES = 4

Progress = Callable[[int, int], None]
"""Called with the bytes downloaded so far and the total."""


def local_path(spec: ModelSpec, settings: Settings) -> Path:
    """The model's folder below RERANKER_MODELS_DIR: `<org>_<name>/`."""
    return settings.reranker_models_dir / spec.hub_repo.replace("/", "_")


@dataclass(frozen=True)
class Snapshot:
    """A folder that holds one commit of a repository."""

    folder: Path
    revision: str
    private: bool = True
    """Whether it is our own working folder; other folders may change at any time."""


def needed_files(names: list[str], adapter: str | None = None) -> list[str]:
    """The files that an import reads: safetensors rather than pickle, no ONNX, no code. `adapter` is a folder.

    Only files in the repository's root and in the folders of its modules are accepted.
    """
    folders = sorted({name.rpartition("/")[0] for name in names})  # the root, which is "", comes first
    modules = [folder for folder in folders if folder and _is_module(folder)]
    small = [name for folder in ["", *modules] for name in _inside(names, folder, _SMALL_FILES)]
    adapters = [] if adapter is None and "config.json" in names else _inside(names, adapter or "", _ADAPTER_FILES)
    return small + adapters + [name for folder in ["", *modules] for name in _weights(names, folder)]


def _is_module(folder: str) -> bool:
    """Whether a folder holds a module, or a module of a Router inside the folder of a module."""
    return any(_matches(folder, f"{outer}{inner}") for outer in _MODULE_FOLDERS for inner in _INSIDE)


def _weights(names: list[str], folder: str) -> list[str]:
    weights = _inside(names, folder, _SAFETENSORS)
    if any(name.endswith(".safetensors") for name in weights):
        return weights
    return _inside(names, folder, _PICKLES)


def _inside(names: list[str], folder: str, patterns: tuple[str, ...]) -> list[str]:
    """The files directly in a folder that match a pattern."""
    beginning = f"{folder}/" if folder else ""
    own = [name for name in names if name.rpartition("/")[0] == folder]
    return [name for name in own if any(_matches(name.removeprefix(beginning), pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    """Match segment by segment: `*` matches neither `/` nor `..` nor control characters."""
    segments, expected = name.split("/"), pattern.split("/")
    return len(segments) == len(expected) and all(
        segment not in (".", "..") and _SEGMENT.fullmatch(segment) and fnmatch.fnmatchcase(segment, each)
        for segment, each in zip(segments, expected, strict=True)
    )


def download(spec: ModelSpec, folder: Path, settings: Settings, progress: Progress) -> Snapshot:
    """Download into `folder`, resuming an earlier attempt; raise ModelUnavailableError if that fails."""
    import httpx2
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    from huggingface_hub.utils import build_hf_headers

    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    where = f"{spec.repo} from {settings.hf_endpoint}"
    total = 0
    try:
        info = HfApi(endpoint=settings.hf_endpoint, token=token).model_info(
            spec.hub_repo, revision=spec.revision, files_metadata=True, timeout=30
        )
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        wanted = needed_files(list(sizes), spec.adapter) + [
            name for name in (CARD,) if spec.from_repository and name in sizes
        ]
        _report_adapters(spec, list(sizes))
        revision = _check_commit(spec, info.sha, settings.hf_endpoint)
        total = sum(sizes[name] for name in wanted)
        folder = folder / revision[:12]  # keeps files of other commits apart
        disk.require_space(folder, total - _bytes_below(folder), f"the download of {spec.repo}")

        def fetch(name: str) -> None:
            url = hf_hub_url(spec.hub_repo, name, revision=revision, endpoint=settings.hf_endpoint)
            _fetch(url, folder / name, sizes[name], build_hf_headers(token=token))

        with _reporting(folder, total, progress), ThreadPoolExecutor(_PARALLEL_FILES) as threads:
            list(threads.map(fetch, wanted))
    except GatedRepoError:
        raise ModelUnavailableError(
            f"{where} is gated. Accept its terms on the Hub, and set HF_TOKEN to a token of that account."
        ) from None
    except RepositoryNotFoundError:
        raise ModelUnavailableError(
            f"{where}: the repository does not exist, or it is private and HF_TOKEN does not give access to it."
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise ModelUnavailableError(f"Downloading {where} failed with status {status}. Try again.") from error
    except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
        if isinstance(error, OSError) and disk.is_disk_error(error):
            raise _write_error(error, folder, total, spec) from error
        raise ModelUnavailableError(
            f"Downloading {where} failed ({type(error).__name__}). Check the network, HF_ENDPOINT and the proxy "
            f"variables, or put the files into {local_path(spec, settings)}."
        ) from error
    _verify(spec, folder, {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs}, wanted)
    return Snapshot(folder, revision)


def _report_adapters(spec: ModelSpec, names: list[str]) -> None:
    """Warn that the results are those without the adapters for single tasks that a repository has beside its model."""
    folders = sorted(name.rpartition("/")[0] for name in names if name.endswith(f"/{ADAPTER}"))
    if folders and spec.from_repository and not spec.adapter:
        logger.warning(
            "%s is imported without its adapters. To import one, give its full name: %s",
            spec.repo,
            ", ".join(f"{spec.repo}/{folder}" for folder in folders[:8]),
        )


def _check_commit(spec: ModelSpec, commit: str | None, endpoint: str) -> str:
    """The commit that the Hub reports; ModelUnavailableError if it is malformed or not the pinned one."""
    if commit is None or not COMMIT.fullmatch(commit) or commit != (spec.revision or commit):
        raise ModelUnavailableError(
            f"{endpoint} is not a valid Hub: its commit for {spec.repo} is missing or not the requested one. "
            "Check HF_ENDPOINT."
        )
    return commit


def _write_error(error: OSError, folder: Path, total: int, spec: ModelSpec) -> ModelUnavailableError:
    """The error for a download that could not be written. On a full disk, delete its partial files."""
    missing = max(0, total - _bytes_below(folder))
    if disk.is_full(error):
        for partial in folder.rglob("*.partial"):
            missing += partial.stat().st_size
            partial.unlink()
    return disk.write_error(error, folder, missing, f"the download of {spec.repo}")


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder has a file that every checkpoint has."""
    return any((folder / name).is_file() for name in HEADS)


def shallow_files(folder: Path, levels: int = 2) -> list[str]:
    """Sorted relative names of the files in a folder and up to `levels` below it; follows links."""
    names = []
    for path in folder.iterdir():
        if path.is_dir() and levels:
            names += [f"{path.name}/{name}" for name in shallow_files(path, levels - 1)]
        elif path.is_file():
            names.append(path.name)
    return sorted(names)


def _fetch(url: str, target: Path, size: int, headers: dict[str, str]) -> None:
    """Download one file, resuming a partial one.

    hf_hub_download would delete the partial file on failure, which is costly on a slow connection.
    """
    from huggingface_hub.file_download import http_get

    if target.is_file() and target.stat().st_size == size:
        return
    partial = target.with_name(f"{target.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    with partial.open("r+b") as file:
        present = file.seek(0, os.SEEK_END)
        if present > size:  # not the file that the Hub has now
            present = file.seek(0)
            file.truncate()
        http_get(url, file, resume_size=present, headers=headers, expected_size=size)
    os.replace(partial, target)


def _verify(spec: ModelSpec, folder: Path, digests: dict[str, str], wanted: list[str]) -> None:
    """Compare each file with the SHA-256 from the Hub; the client library checks only sizes."""
    for name in wanted:
        path = folder / name
        if name in digests and digest(path) != digests[name]:
            path.unlink()
            raise ModelUnavailableError(f"{spec.repo}: the download of {name} is damaged (wrong SHA-256). Try again.")


@contextlib.contextmanager
def _reporting(folder: Path, total: int, progress: Progress) -> Iterator[None]:
    """Report the bytes on disk twice a second, partial files included."""
    done = threading.Event()

    def report() -> None:
        while not done.wait(_REPORT_S):
            progress(min(_bytes_below(folder), total), total)

    thread = threading.Thread(target=report, name="download-progress", daemon=True)
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
        with contextlib.suppress(OSError):  # a partial file may be renamed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total
