"""The stand-in Hub, asked by the real huggingface_hub: what passes is the protocol, not our reading of it."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, close_session, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.hub_server import HubServer

REPO = "acme/tiny-model"
WEIGHTS = bytes(range(256)) * 1024  # 256 KiB: more than one chunk of the server
CONFIG = b'{"hidden_size": 4}\n'


@pytest.fixture(autouse=True)
def _a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No token, proxy or telemetry of the machine's; constants stand for what was read at import."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what arrived is kept by whole chunks only
    close_session()
    yield
    close_session()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "published"
    (root / "1_Pooling").mkdir(parents=True)
    (root / "config.json").write_bytes(CONFIG)
    (root / "1_Pooling" / "config.json").write_bytes(b"{}")
    (root / "model.safetensors").write_bytes(WEIGHTS)
    (root / "vocab #1.txt").write_bytes(b"the\n")  # the client never asks for an empty file
    return root


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(page_size=2) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fetch(hub: HubServer, cache: Path, file: str, *, token: str | bool = False, revision: str = "") -> Path:
    source = {"endpoint": hub.endpoint, "token": token, "revision": revision or None}
    path = hf_hub_download(REPO, file, cache_dir=cache, etag_timeout=2, **source)
    return Path(path)


def test_the_info_lists_files_sizes_and_checksums(hub: HubServer, folder: Path) -> None:
    commit = hub.add(REPO, folder)
    info = HfApi(endpoint=hub.endpoint).model_info(REPO, files_metadata=True)
    assert (info.id, info.sha, info.private, info.gated) == (REPO, commit, False, False)
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    assert sorted(files) == ["1_Pooling/config.json", "config.json", "model.safetensors", "vocab #1.txt"]
    git = subprocess.run(["git", "hash-object", folder / "config.json"], stdout=subprocess.PIPE, check=True)
    assert (files["config.json"].blob_id, files["config.json"].lfs) == (git.stdout.decode().strip(), None)
    lfs = files["model.safetensors"].lfs
    assert lfs is not None
    assert (lfs.sha256, lfs.size) == (hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    without_sizes = HfApi(endpoint=hub.endpoint).model_info(REPO).siblings or []
    assert [sibling.size for sibling in without_sizes] == [None] * 4


def test_the_tree_comes_in_pages(hub: HubServer, folder: Path) -> None:
    hub.add(REPO, folder)
    api = HfApi(endpoint=hub.endpoint)
    entries = list(api.list_repo_tree(REPO, recursive=True))
    folders = [entry.path for entry in entries if isinstance(entry, RepoFolder)]
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    assert folders == ["1_Pooling"]
    assert sizes == {
        "1_Pooling/config.json": 2,
        "config.json": len(CONFIG),
        "model.safetensors": len(WEIGHTS),
        "vocab #1.txt": 4,
    }
    assert len(hub.requests) == 3
    assert [entry.path for entry in api.list_repo_tree(REPO, "1_Pooling")] == ["1_Pooling/config.json"]
    direct = [entry.path for entry in api.list_repo_tree(REPO)]
    assert direct == ["1_Pooling", "config.json", "model.safetensors", "vocab #1.txt"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(REPO, "onnx"))


def test_large_files_come_from_the_cdn_without_the_token(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder, token="hf_mine")
    blob = fetch(hub, cache, "model.safetensors", token="hf_mine").resolve()
    assert (blob.name, blob.read_bytes()) == (hashlib.sha256(WEIGHTS).hexdigest(), WEIGHTS)
    fetch(hub, cache, "config.json", token="hf_mine")
    trace = [(r.host, r.method, r.headers.get("authorization")) for r in hub.requests]
    assert trace == [
        ("hub", "HEAD", "Bearer hf_mine"),
        ("cdn", "GET", None),
        ("hub", "HEAD", "Bearer hf_mine"),
        ("hub", "GET", "Bearer hf_mine"),
    ]
    assert all("hf_hub/" in request.headers["user-agent"] for request in hub.requests)


def test_what_is_not_there_is_named(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder)
    api = HfApi(endpoint=hub.endpoint)
    with pytest.raises(RepositoryNotFoundError) as anonymous:
        api.model_info("acme/missing", token=False)
    with pytest.raises(RepositoryNotFoundError) as authenticated:
        api.model_info("missing", token="hf_mine")
    assert (anonymous.value.response.status_code, authenticated.value.response.status_code) == (401, 404)
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v9")
    with pytest.raises(RevisionNotFoundError):
        fetch(hub, cache, "config.json", revision="v9")
    with pytest.raises(EntryNotFoundError):
        fetch(hub, cache, "tokenizer.json")
    assert (cache / "models--acme--tiny-model" / ".no_exist").is_dir()


def test_a_private_repository_looks_missing_without_token(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder, token="hf_mine")
    for token, status in ((False, 401), ("hf_other", 404)):
        with pytest.raises(RepositoryNotFoundError) as refused:
            fetch(hub, cache, "config.json", token=token)
        assert refused.value.response.status_code == status
        assert not isinstance(refused.value, GatedRepoError)
    assert HfApi(endpoint=hub.endpoint, token="hf_mine").model_info(REPO).private is True


def test_a_gated_repository_is_listed_but_not_downloaded(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder, token="hf_mine", gated=True)
    assert HfApi(endpoint=hub.endpoint).model_info(REPO).gated == "manual"
    for token, status in ((False, 401), ("hf_other", 403)):
        with pytest.raises(GatedRepoError) as refused:
            fetch(hub, cache, "config.json", token=token)
        assert refused.value.response.status_code == status
    assert fetch(hub, cache, "config.json", token="hf_mine").read_bytes() == CONFIG
